"""One thin module per DVC stage and CLI command: parse, call `pipeline`, show progress."""
