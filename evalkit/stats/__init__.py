"""Statistics: pure functions, no state, no input or output; on numpy alone but for a few that say that they need scipy."""
