"""Tasks: definitions in YAML, resolved to samples, prompts and requests."""
