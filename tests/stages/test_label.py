"""What the stage `label` says about a teacher."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from muki_pipeline import config
from muki_pipeline.corpus.prepare import prepare
from muki_stages import label
from tests import tiny


@pytest.mark.parametrize(("factor", "warns"), [(0.01, True), (1e3, False)])
def test_a_teacher_whose_answers_are_nearly_uniform_is_named(
    factor: float, warns: bool, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tiny.save_project(tmp_path)
    teacher = AutoModelForSequenceClassification.from_pretrained(tmp_path / "models" / "one")
    with torch.no_grad():
        teacher.classifier.weight *= factor
        teacher.classifier.bias *= 0
    teacher.save_pretrained(tmp_path / "models" / "one")
    params, layout = config.load(path)
    prepare(params.prepare, layout)
    done = label.main("one", path)
    assert done["close_to_uniform"] == (done["rows"] if warns else 0)
    assert ("warning: teacher one says almost nothing: on 30 of 30 texts" in capfd.readouterr().err) == warns
