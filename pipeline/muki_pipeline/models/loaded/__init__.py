"""Networks in memory, made from what was found on the disk: this is where torch and transformers are imported."""
