"""Statistics as pure functions on numpy arrays."""
