"""The report's charts: a module for each group, and what all of them are drawn with."""
