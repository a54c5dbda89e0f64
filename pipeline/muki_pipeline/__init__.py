"""Knowledge integration of text classifiers by model uncertainty (MUKI, arXiv:2210.05230)."""
