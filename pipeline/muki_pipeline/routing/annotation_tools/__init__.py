"""A review in tools for annotation: what each is given, and how what it exports is read. No tool need be installed."""
