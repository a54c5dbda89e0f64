"""Where the shards of a golden table are made: in threads of this process, or on a Ray cluster."""
