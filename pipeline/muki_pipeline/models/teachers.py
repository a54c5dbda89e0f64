"""Teachers on the disk: find a classifier, check it, read its label names, compute its digest. Nothing is loaded."""

from dataclasses import dataclass
from pathlib import Path

from muki_pipeline.blocks import Teacher
from muki_pipeline.errors import MukiError, shortlist
from muki_pipeline.models import locations
from muki_pipeline.models.checks.folder_kinds import check_classifier_folder
from muki_pipeline.models.kinds import adapters, setfit
from muki_pipeline.models.model_config import ModelConfig, read_model_config
from muki_pipeline.names import comparable
from muki_pipeline.store.files import exists, read_json
from muki_pipeline.store.keys import canonical_key


@dataclass(frozen=True)
class TeacherFiles:
    """A teacher on the disk, checked and fingerprinted but not loaded.

    Attributes:
        name: Its name in params.yaml.
        folder: Where its files lie.
        labels: Its label names in the order of its logits.
        digest: SHA-256 over the names and contents of the files that its numbers may depend on.
        settings: Its block of params.yaml.
        base: The folder of the model that an adapter changes; None of a whole model.
    """

    name: str
    folder: Path
    labels: tuple[str, ...]
    digest: str
    settings: Teacher
    base: Path | None = None

    def check_same(self) -> None:
        """Hold the files against what they were when they were found, now that they are loaded.

        Raises:
            MukiError: They have changed meanwhile.
        """
        if _fingerprint(self.name, self.folder, self.settings, self.base) != self.digest:
            what = "its files were changed while they were read"
            raise MukiError(what, where=f"teacher {self.name}", fix="Run the command again")


def locate(name: str, settings: Teacher, root: Path) -> TeacherFiles:
    """Find a teacher, refuse what must not be loaded, read its labels and fingerprint its files.

    Raises:
        MukiError: No such model, or no text classifier; weights that are not safetensors or code of its own without the
            opt-in; a config that is not a single-label classifier's; label names that are missing, placeholders, too
            few or not unique.
    """
    where, pickles = f"teacher {name}", settings.allow_pickle_weights
    _check_pinned(where, settings, root)
    folder = locations.model_folder(settings.model, root, revision=settings.revision, pickles=pickles)
    if adapters.is_adapter(folder):
        return _locate_adapter(name, folder, settings, root)
    if setfit.is_setfit(folder):
        labels = _distinct(setfit.labels(folder, settings, where), where)
        return TeacherFiles(name, folder, labels, _fingerprint(name, folder, settings), settings)
    check_classifier_folder(folder, where, pickles=pickles, allow_pickles=f"teachers.{name}.allow_pickle_weights")
    digest = _fingerprint(name, folder, settings)
    config = read_model_config(folder / "config.json")
    _check_code(name, config, folder, settings)
    _check_problem(config, where)
    return TeacherFiles(name, folder, _labels(where, config, settings), digest, settings)


def _fingerprint(name: str, folder: Path, settings: Teacher, base: Path | None = None) -> str:
    """SHA-256 over the names and contents of the files that a teacher's numbers may depend on."""
    if base is not None:
        own = {*locations.model_files(folder), adapters.weights(folder)}
        parts = ((folder, own), (base, locations.model_files(base)))
        return canonical_key({"parts": [locations.model_digest(*part) for part in parts]})
    if setfit.is_setfit(folder):
        return locations.model_digest(folder, [*locations.model_files(folder), folder / setfit.HEAD])
    plain = locations.model_files(folder, pickles=settings.allow_pickle_weights)
    return locations.model_digest(folder, sorted({*plain, *_indexed_weights(folder, f"teacher {name}")}))


def _locate_adapter(name: str, folder: Path, settings: Teacher, root: Path) -> TeacherFiles:
    """An adapter with its base model, see `locate`; its labels are those of its own config, where it has one."""
    where = f"teacher {name}"
    base = adapters.base_folder(folder, settings, root, where)
    own = folder / "config.json"
    config = read_model_config(own if exists(own) else base / "config.json")
    _check_code(name, config, base, settings)
    if exists(own):
        _check_problem(config, where)
    if (
        settings.labels is None
        and not exists(own)
        and all(str(each).startswith("LABEL_") for each in config.id2label.values())
    ):
        what = "is an adapter without a config.json that names its labels"
        fix = f"Give them in the order of its outputs: init --labels {name}=first,second, or teachers.{name}.labels"
        raise MukiError(what, where=where, fix=fix)
    labels = tuple(settings.labels) if settings.labels is not None else _labels(where, config, settings)
    digest = _fingerprint(name, folder, settings, base)
    return TeacherFiles(name, folder, _distinct(labels, where), digest, settings, base)


def _check_problem(config: ModelConfig, where: str) -> None:
    """Refuse a model that was not trained to choose one of its labels."""
    if config.problem_type not in (None, "single_label_classification"):
        what = f"it is trained for {config.problem_type}, but only single-label classifiers can be integrated"
        if len(config.id2label) == 1:
            what = f"it has one output, {[*config.id2label.values()]}, so it chooses nothing"
        raise MukiError(what, where=where, fix="Use a single-label classifier")


def _check_code(name: str, config: ModelConfig, folder: Path, settings: Teacher) -> None:
    """Refuse code of a model's own that nobody has allowed.

    Raises:
        MukiError: There is some.
    """
    tokenizer = folder / "tokenizer_config.json"
    has_code = config.auto_map is not None or (
        exists(tokenizer) and "auto_map" in read_json(tokenizer, "Save the tokenizer again")
    )
    if has_code and not settings.trust_remote_code:
        raise MukiError(
            "its files want to run their own code (auto_map)",
            where=f"teacher {name}",
            fix=f"Set teachers.{name}.trust_remote_code: true if you trust its author",
        )


def _indexed_weights(folder: Path, where: str) -> list[Path]:
    """The weight files that an index names: they are loaded, so they must lie in the folder and be in the digest.

    Raises:
        MukiError: The index is damaged, or names a file elsewhere or of another format.
    """
    index = folder / "model.safetensors.index.json"
    if not exists(index):
        return []
    remedy = "Save the model again with save_pretrained"
    weight_map = read_json(index, remedy).get("weight_map")
    if not isinstance(weight_map, dict) or not all(isinstance(name, str) for name in weight_map.values()):
        raise MukiError("has no weight_map of file names", where=str(index), fix=remedy)
    names = sorted(set(weight_map.values()))
    if unsafe := [name for name in names if Path(name).name != name or not name.endswith(".safetensors")]:
        raise MukiError(
            f"{index.name} names {shortlist(unsafe)}, not a safetensors file beside it", where=where, fix=remedy
        )
    if missing := [name for name in names if not exists(folder / name)]:
        raise MukiError(f"{index.name} names {shortlist(missing)}, which is missing", where=where, fix=remedy)
    return [folder / name for name in names]


def _check_pinned(where: str, settings: Teacher, root: Path) -> None:
    """A model on the hub must be named with its commit: its files may change at any time."""
    is_here = settings.model.startswith(locations.PACKAGE) or locations.local(settings.model, root) is not None
    if not is_here and not locations.is_commit(settings.revision) and not locations.looks_like_path(settings.model):
        what = "as a hub id it is not pinned" if settings.revision is None else f"{settings.revision} is no commit"
        raise MukiError(
            f"{settings.model} is not a folder, and {what}: its files may change unnoticed",
            where=where,
            fix="Correct the path, or set revision to a commit of the model's repository (40 digits)",
        )


def _labels(where: str, config: ModelConfig, settings: Teacher) -> tuple[str, ...]:
    named = config.id2label
    # Without id2label a config stands for transformers' default: two outputs, LABEL_0 and LABEL_1.
    count = len(named) or config.num_labels or 2
    made_up = [f"LABEL_{number}" for number in range(count)]
    _check_several(count, where)
    if settings.labels is not None:
        labels = tuple(settings.labels)
        if len(labels) != count:
            raise MukiError(
                f"labels gives {len(labels)} names, the model has {count} outputs",
                where=where,
                fix="Give one name for each output, in their order",
            )
    elif set(named.values()) <= set(made_up):
        raise MukiError(
            f"its config does not name its {count} labels, only {shortlist(made_up)}",
            where=where,
            fix="Give them in the order of its outputs: init --labels TEACHER=first,second, or teachers.TEACHER.labels "
            "in params.yaml",
        )
    else:
        labels = tuple(str(named[number]) for number in range(count))
    return _distinct(labels, where)


def _check_several(labels: int, where: str) -> None:
    if labels < 2:
        raise MukiError("it has only one label, so it chooses nothing", where=where, fix="Leave it out")


def _distinct(labels: tuple[str, ...], where: str) -> tuple[str, ...]:
    """The labels, at least two and none of them like another, see `comparable`."""
    _check_several(len(labels), where)
    names = [comparable(label) for label in labels]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        name = where.removeprefix("teacher ")
        fix = f"Give distinct ones in the order of its outputs: init --labels {name}=first,second, or "
        fix += f"teachers.{name}.labels in params.yaml"
        raise MukiError(f"labels occur more than once: {shortlist(twice)}", where=where, fix=fix)
    return labels
