"""Scorers: statistics a record, values by weighting (`base.py`)."""
