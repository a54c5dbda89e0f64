"""Which rule finds the right teacher, on many settings that are built once and judged in seconds."""
