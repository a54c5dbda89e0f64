"""Where shards are labelled: in this process, in several, or on a Ray cluster. One loop serves them all."""
