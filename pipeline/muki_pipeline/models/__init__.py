"""Pretrained models and classifiers: where they are, loading them safely, batches, devices."""
