"""Metrics that compare words and characters with references: BLEU, chrF, TER, ROUGE, error rates."""
