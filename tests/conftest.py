import os

os.environ["HF_HUB_OFFLINE"] = "1"  # a test that reaches for the hub is wrong, and should say so at once

from pathlib import Path

import pytest
import torch

from tests import tiny


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Tiny models are slower on more threads."""
    torch.set_num_threads(1)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """params.yaml of a project with two tiny teachers and a corpus of 30 texts."""
    return tiny.save_project(tmp_path)
