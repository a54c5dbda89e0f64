"""The student: from a golden table to a classifier of all labels."""
