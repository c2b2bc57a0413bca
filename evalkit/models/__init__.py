"""Models: adapters behind one small contract (`base.py`)."""
