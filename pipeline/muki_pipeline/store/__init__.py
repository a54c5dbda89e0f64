"""The tables under data/: their columns, their shards and manifests, and everything that writes or reads a file."""
