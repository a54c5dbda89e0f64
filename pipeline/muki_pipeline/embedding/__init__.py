"""Neutral embeddings of texts and label names, from an encoder that is none of the teachers."""
