"""A source root, no package."""

raise ImportError("this folder only holds the code: import muki_pipeline")
