"""Kinds of teachers that are more than a folder of transformers: adapters and SetFit."""
