"""The regression gate: a policy and comparisons in, one verdict with one exit code out."""
