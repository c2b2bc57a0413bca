"""Shared text encoders for learned metrics: loaded once, fed without repeats or padding, remembered on disk."""
