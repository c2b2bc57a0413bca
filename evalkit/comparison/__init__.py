"""Runs over the same samples compared: what they are compared by, whether they may be, and by how much they differ."""
