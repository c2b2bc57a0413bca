"""Evaluate language models: right numbers, with error bars, fast, and nothing ever lost."""
