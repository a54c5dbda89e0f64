"""A teacher that is a file of answers: its rows become the label table that a network's passes would make."""
