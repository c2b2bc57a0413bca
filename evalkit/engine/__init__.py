"""Local inference: token jobs in, numbers and tokens out."""
