"""How good teachers, supervision and students are, where gold labels are known."""
