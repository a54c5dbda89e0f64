"""Text sources become the corpus: shards of texts with stable ids."""
