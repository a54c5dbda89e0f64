"""What teachers, supervision and students are worth where gold labels are known."""
