"""What is refused before work is spent on it: folders that are no model, weights that do not fit their config."""
