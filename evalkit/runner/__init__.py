"""The run: plan, execute durably, score, summarise."""
