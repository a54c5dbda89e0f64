import math
from pathlib import Path

import polars as pl
import pytest
import torch
from safetensors.torch import load_file

from muki_pipeline import blocks, config
from muki_pipeline.errors import MukiError
from muki_pipeline.evaluation.comparison.compare import compare
from muki_pipeline.labelling.labeller import Labeller
from muki_pipeline.labelling.run import label_corpus
from muki_pipeline.layout import Layout
from muki_pipeline.models.loaded.student import load_student
from muki_pipeline.models.teachers import locate
from muki_pipeline.progress import SILENT, Progress
from muki_pipeline.supervision.integrate import integrate
from muki_pipeline.training.student.alignment import AmalgamatedFeatures, CommonFeatures, squared_mmd
from muki_pipeline.training.student.train import StudentTraining
from tests import tiny
from tests.recorder import Recorder


def gauss(square: float) -> float:
    return sum(math.exp(-square / (2 * sigma**2)) for sigma in (0.001, 0.01, 0.05, 0.1, 0.2, 1.0, 2.0)) / 7


def test_squared_mmd_by_hand() -> None:
    one = torch.tensor([[2.0, 0.0], [0.0, 3.0]])  # of length 1: (1, 0) and (0, 1), 2 apart
    other = torch.tensor([[5.0, 0.0], [1.0, 0.0]])  # twice (1, 0)
    within_one = (2 * gauss(0) + 2 * gauss(2)) / 4
    within_other = gauss(0)
    between = (2 * gauss(0) + 2 * gauss(2)) / 4
    assert squared_mmd(one, other).item() == pytest.approx(within_one + within_other - 2 * between, rel=1e-5)
    assert squared_mmd(one, one).item() == pytest.approx(0, abs=1e-5)


def test_cfl_by_hand() -> None:
    """With layers that reconstruct nothing and put everything in one place, only the teachers' features are left."""
    loss = CommonFeatures(3, [2, 1])
    with torch.no_grad():
        for weights in loss.parameters():
            weights.zero_()
        loss.decoders[0][2].bias.copy_(torch.tensor([1.0, 0.0]))
    teachers = [torch.tensor([[1.0, 2.0], [0.0, 4.0]]), torch.tensor([[3.0], [1.0]])]
    first = (0 + 4 + 1 + 16) / 4
    second = (9 + 1) / 2
    assert loss(torch.ones(2, 3), teachers).item() == pytest.approx((first + second) / 2)


def test_dfa_by_hand() -> None:
    loss = AmalgamatedFeatures(2, [1, 1])
    with torch.no_grad():
        loss.encode.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 2.0]]))
        loss.decode.weight.copy_(torch.eye(2))
        loss.adapt.weight.copy_(torch.eye(2))
    student, teachers = torch.tensor([[1.0, 1.0]], requires_grad=True), [torch.tensor([[3.0]]), torch.tensor([[1.0]])]
    # code (3, 2), decoded (3, 2) where (3, 1) was; the student says (1, 1) where (3, 2) is wanted
    value = loss(student, teachers)
    assert value.item() == pytest.approx((0 + 1) / 2 + (4 + 1) / 2)
    value.backward()
    only_reconstruction = torch.tensor([[0.0, 0.0], [3.0, 1.0]])  # the student's term does not move the encoder
    torch.testing.assert_close(loss.encode.weight.grad, only_reconstruction)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    settings = tiny.params(list(tiny.TEACHER_LABELS))
    path = tiny.save_project(
        tmp_path, label=settings["label"] | {"features": True}, compare={"rules": ["cfl", "dfa"], "seeds": [0]}
    )
    tiny.label(path)
    return path


def test_features_are_what_the_head_reads(project: Path) -> None:
    _, layout = config.load(project)
    labels = pl.read_parquet(layout.labels("one") / "*.parquet")
    features = pl.read_parquet(layout.features("one") / "*.parquet")
    assert features["id"].equals(labels["id"])
    head = tiny.AutoModelForSequenceClassification.from_pretrained(layout.root / "models" / "one").classifier
    logits = torch.tensor(features["features"].to_numpy().astype("float32")) @ head.weight.T + head.bias
    torch.testing.assert_close(logits, torch.tensor(labels["logits"].to_numpy()), atol=5e-3, rtol=5e-3)


def test_features_are_made_once_and_labels_not_again(project: Path) -> None:
    params, layout = config.load(project)
    recorder = Recorder()
    label_corpus("one", params.teachers["one"], params.label, layout, recorder)
    assert [task.total for task in recorder.tasks] == [0]
    without = params.label.model_copy(update={"features": False})
    assert label_corpus("one", params.teachers["one"], without, layout).new_rows == 0
    assert not layout.features("one").exists()
    assert label_corpus("one", params.teachers["one"], params.label, layout).new_rows == 0
    assert layout.features("one").exists()


@pytest.mark.parametrize("strategy", ["cfl", "dfa"])
def test_a_student_learns_with_features_and_is_saved_without_them(strategy: str, project: Path) -> None:
    params, layout = config.load(project)
    changed = params.model_copy(
        update={"integrate": params.integrate.model_copy(update={"strategy": strategy, "scorer": "energy"})}
    )
    integrate(changed, layout, layout.golden)
    train(params.student, layout, "student")
    student = load_student(layout.root / "student")
    assert not [name for name, _ in student.model.named_modules() if "alignment" in name]
    integrate(
        params.model_copy(update={"integrate": changed.integrate.model_copy(update={"strategy": "concat"})}),
        layout,
        layout.golden,
    )
    train(params.student, layout, "plain")
    other = load_student(layout.root / "plain")
    assert abs(student.logits(["w1 w2"]) - other.logits(["w1 w2"])).max() > 1e-4


def train(settings: config.StudentSettings, layout: Layout, name: str, progress: Progress = SILENT) -> dict[str, float]:
    folder = layout.root / name
    return StudentTraining(settings, layout.golden, folder, layout.work / name, layout.root).run(progress)


class Killed(Exception):
    pass


def die_at_step_4(done: int) -> None:
    if done >= 4:
        raise Killed


BART: dict[str, int] = {
    **{"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2},
    **{"decoder_attention_heads": 2, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32, "eos_token_id": 2},
}


@pytest.mark.parametrize(("architecture", "sizes"), [("bert", {}), ("bart", BART)])  # BART uses weights in two places
def test_a_killed_training_with_features_goes_on_to_the_same_student(
    project: Path, architecture: str, sizes: dict[str, int]
) -> None:
    params, layout = config.load(project)
    settings = params.student.model_copy(update={"checkpoint_steps": 3, "model": architecture})
    tiny.save_pretrained_encoder(layout.root / architecture, seed=9, architecture=architecture, **sizes)
    integrate(
        params.model_copy(update={"integrate": config.Integrate(strategy="cfl", scorer="energy")}),
        layout,
        layout.golden,
    )
    whole = train(settings, layout, "whole")
    with pytest.raises(Killed):
        train(settings, layout, "resumed", Recorder(die_at_step_4))
    [checkpoint] = layout.work.rglob("checkpoint-3")
    assert {name.partition(".")[0] for name in load_file(checkpoint / "model.safetensors")} == {"student", "alignment"}
    assert train(settings, layout, "resumed") == whole
    weights = [(layout.root / name / "model.safetensors").read_bytes() for name in ("whole", "resumed")]
    assert weights[0] == weights[1]


def test_rules_of_features_are_compared(project: Path) -> None:
    params, layout = config.load(project)
    assert set(compare(params, layout).students["rule"]) == {"cfl", "dfa"}


def test_without_features_the_error_says_what_to_set(tmp_path: Path) -> None:
    path = tiny.save_project(tmp_path, integrate={"strategy": "dfa", "scorer": "energy"})
    tiny.label(path)
    params, layout = config.load(path)
    with pytest.raises(MukiError, match=r"Set label\.features: true, then run muki-pipeline label --teacher one"):
        integrate(params, layout, layout.golden)


def test_a_head_that_reads_every_token_has_no_features(tmp_path: Path) -> None:
    tiny.save_teacher(tmp_path / "m", ["a", "b"], "gpt2", n_embd=16, n_layer=1, n_head=2, n_positions=66)
    files = locate("t", blocks.Teacher(model="m"), tmp_path)
    with pytest.raises(MukiError, match="reads every token"):
        Labeller(files, config.Label(dtype="float32", max_length=20, device="cpu")).features(["w1 w2"])
