"""Metrics that a network computes: BERTScore, BLEURT, COMET, BARTScore, pseudo-log-likelihood, embeddings."""
