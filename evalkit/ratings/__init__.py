"""Ratings by people: the tidy table that every study, calibration and validation reads."""
