import shutil
from pathlib import Path

import pytest

from tests import tiny


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tiny.save_project(tmp_path_factory.mktemp("labelled"))
    tiny.label(path)
    return path


@pytest.fixture
def copy(labelled: Path, tmp_path: Path) -> Path:
    """A labelled project without a golden table."""
    made = shutil.ignore_patterns("golden", "router", "routers")
    shutil.copytree(labelled.parent, tmp_path / "copy", ignore=made)
    return tmp_path / "copy" / "params.yaml"
