"""Runs of other harnesses as runs of evalkit."""
