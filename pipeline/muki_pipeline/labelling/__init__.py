"""One teacher labels the corpus with Monte-Carlo dropout."""
