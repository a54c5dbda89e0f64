"""Stored labels become golden supervision. Nothing here loads a model."""
