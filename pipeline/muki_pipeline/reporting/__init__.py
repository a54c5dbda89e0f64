"""Tables become something to look at."""
