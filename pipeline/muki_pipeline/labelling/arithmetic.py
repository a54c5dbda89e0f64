"""Which arithmetic a teacher labels a corpus in, where `label.dtype` is `auto`: what is finished decides first."""

from collections.abc import Sequence
from typing import NamedTuple

from muki_pipeline.config import Label
from muki_pipeline.labelling.store import StoredTeacher
from muki_pipeline.layout import Layout
from muki_pipeline.models.teachers import TeacherFiles
from muki_pipeline.progress import SILENT, Progress
from muki_pipeline.store.store import Shard


class Choice(NamedTuple):
    """A teacher with the arithmetic that was chosen.

    Attributes:
        teacher: It.
        reason: Why, to be shown; empty where the settings name the arithmetic.
        stored: By the corpus shard's key, its labels in this arithmetic, None where they are not finished.
    """

    teacher: StoredTeacher
    reason: str
    stored: dict[str, Shard | None]


def choose(
    files: TeacherFiles, settings: Label, layout: Layout, shards: Sequence[Shard], progress: Progress = SILENT
) -> Choice:
    """A teacher in the arithmetic that the settings name or that does best.

    Finished shards count first: an arithmetic that has half of them goes on, also where this machine is slow in it.
    Fewer cost less than the others would; on a machine that is fast in bfloat16 one begun in it goes on, and where
    nothing is, a trial decides, see `try_fast`.

    Args:
        files: The teacher.
        settings: The `label` block.
        layout: Where the tables lie.
        shards: The corpus's.
        progress: Shows that a trial is under way.

    Raises:
        MukiError: See `try_fast`.
    """

    def choice(own: Label) -> Choice:
        teacher = StoredTeacher(files, own, layout)
        return Choice(teacher, "", {each.key: teacher.find_labels(each.key) for each in shards})

    if settings.dtype != "auto":
        return choice(settings)
    fast, exact = (choice(settings.model_copy(update={"dtype": dtype})) for dtype in ("bfloat16", "float32"))
    begun = max(fast, exact, key=_finished)
    if 2 * _finished(begun) >= len(begun.stored):
        how = "labelled before" if all(begun.stored.values()) else "begun"
        return begun._replace(reason=f"{begun.teacher.dtype}, as it was {how}")
    task = progress.begin(f"choose the arithmetic of {files.name}", 1, "trials")
    from muki_pipeline.labelling.trial import is_fast, try_fast  # imports torch: not before there is something to label

    if not is_fast(settings):
        chosen, reason = exact.teacher, "float32: this machine is not faster in bfloat16"
    elif _finished(fast):
        chosen, reason = fast.teacher, "bfloat16, as it was begun"
    else:
        chosen, reason = try_fast(fast.teacher, exact.teacher, shards[0])
    task.advance(1)
    return (fast if chosen is fast.teacher else exact)._replace(reason=reason)


def _finished(choice: Choice) -> int:
    """How many shards are labelled in it."""
    return sum(found is not None for found in choice.stored.values())
