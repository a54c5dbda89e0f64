"""Marks of tests."""

import os

import pytest

at_length = pytest.mark.skipif("MUKI_SCALE" not in os.environ, reason="a part of `make scale`")
