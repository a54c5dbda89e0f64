"""Before the work: settings written from what is there, and a dry run that says what would go wrong."""
