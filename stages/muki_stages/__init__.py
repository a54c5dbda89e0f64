"""A module for each command: its options, the call of `muki_pipeline`, and what it shows."""
