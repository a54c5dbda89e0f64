"""More real data sets as settings, and the routing suite."""
