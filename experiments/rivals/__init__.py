"""The student against what a user would do instead: label names, a few gold labels, other rules, the teachers alone."""
