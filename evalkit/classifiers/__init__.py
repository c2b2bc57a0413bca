"""Text classifiers behind one protocol: toxicity, profanity, sentiment, regard, moderation and guard models."""
