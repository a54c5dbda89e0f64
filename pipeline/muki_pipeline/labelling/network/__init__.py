"""A teacher's network as it labels: the transforms that make it drop by key and run fast."""
