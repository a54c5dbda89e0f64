from pathlib import Path

import pytest
import torch

from muki_pipeline import config
from muki_pipeline.errors import MukiError
from muki_pipeline.models import devices
from muki_pipeline.training import trainer
from muki_pipeline.training.finished import settled


def test_a_process_with_several_gpus_trains_with_the_batch_size_that_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class FourGpus(trainer.TrainingArguments):
        def __post_init__(self) -> None:
            super().__post_init__()
            self._n_gpu = 4

    assert FourGpus(output_dir=str(tmp_path), use_cpu=True, per_device_train_batch_size=8).train_batch_size == 32
    monkeypatch.setattr(trainer, "TrainingArguments", FourGpus)
    settings = config.StudentSettings(model="m", batch_size=8, precision="float32")
    assert trainer.arguments(settings, tmp_path, 1).train_batch_size == 8


def test_what_is_known_in_some_arithmetic_decides_before_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "fast_dtype", lambda device: "bfloat16")
    auto = config.StudentSettings(model="m")
    assert settled(auto, lambda each: False).precision == "bfloat16"
    assert settled(auto, lambda each: each.precision == "float32").precision == "float32"
    begun = settled(auto, lambda each: False, lambda each: each.precision == "float32")
    assert begun.precision == "float32"
    exact = config.StudentSettings(model="m", precision="float32")
    assert settled(exact, lambda each: True) is exact


def test_a_process_that_is_lost_while_a_checkpoint_is_written_is_no_full_disk(tmp_path: Path) -> None:
    for error in (RuntimeError("Connection closed by peer"), torch.OutOfMemoryError("CUDA out of memory")):
        with pytest.raises(type(error), match=str(error)), trainer._writing(tmp_path):
            raise error
    with pytest.raises(MukiError, match="a checkpoint cannot be written"), trainer._writing(tmp_path):
        raise RuntimeError("PytorchStreamWriter failed writing file data.pkl")
