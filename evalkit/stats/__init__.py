"""Statistics on numpy alone: pure functions, no state, no input or output."""
