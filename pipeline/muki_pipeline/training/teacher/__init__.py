"""Training teachers on labelled texts: those of the demo and of the experiments."""
