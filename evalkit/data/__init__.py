"""Data: rows of a split from local files or the Hugging Face hub."""
