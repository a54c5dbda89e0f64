"""Label tables, read back and checked; the union of the teachers' labels."""
