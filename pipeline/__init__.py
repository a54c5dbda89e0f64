"""Knowledge integration of text classifiers by model uncertainty (MUKI, arXiv:2210.05230)."""

import os

# torch reads it at its first allocation. Activations are megabytes each: on huge pages a pass takes a few percent less.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
