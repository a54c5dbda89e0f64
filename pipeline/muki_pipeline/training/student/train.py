"""The student: trained from a golden table alone and saved as a folder that is ready for the hub."""

import logging
from dataclasses import dataclass
from pathlib import Path

from muki_pipeline.config import Params, StudentSettings
from muki_pipeline.errors import MukiError
from muki_pipeline.freshness import check_made
from muki_pipeline.layout import MAKE_GOLDEN, Layout, open_golden
from muki_pipeline.models.students import find_student, supervision_digest
from muki_pipeline.progress import SILENT, Progress
from muki_pipeline.store import files
from muki_pipeline.training.finished import found, is_kept, only_training, settled, trained_before
from muki_pipeline.training.processes import first_decides, is_first
from muki_pipeline.training.student.plan import Plan, training_key

_LOG = logging.getLogger(__name__)


def train_student(params: Params, layout: Layout, progress: Progress = SILENT) -> dict[str, float]:
    """Train the project's student from its golden table; see `StudentTraining.run`.

    A student that is there already, of the same table and settings, is kept; one that DVC has removed is put back.

    Raises:
        MukiError: Another process trains it; the golden table is of other settings, or of other tables than those that
            lie here; see `StudentTraining.run`.
    """
    work = layout.work / "student"
    kept = layout.kept_students
    training = StudentTraining(params.student, layout.golden, layout.student, work, layout.root, kept=kept)
    with only_training(layout.student, kept, work.with_suffix(".lock"), "training the student"):
        check_golden(params, layout)
        return training.run(progress)


def check_golden(params: Params, layout: Layout) -> None:
    """Make sure that the project's golden table is what its student is to learn from.

    Raises:
        MukiError: There is none, or it is of other settings or tables than those that lie here.
    """
    check_made(params, layout, open_golden(layout.golden), layout.golden)


@dataclass(frozen=True)
class StudentTraining:
    """A student's training: what it reads, and where it writes.

    Attributes:
        settings: The `student` block.
        golden: Folder of the golden table; nothing else of a project is read.
        output: Folder of the student.
        work: Folder of tokens and checkpoints while the training lasts, under its key: no other training's are used.
        root: What a relative model path is relative to.
        name: What progress calls the training.
        kept: Where finished students are kept, see `found`; None where they are not.
    """

    settings: StudentSettings
    golden: Path
    output: Path
    work: Path
    root: Path
    name: str = "student"
    kept: Path | None = None

    def run(self, progress: Progress = SILENT) -> dict[str, float]:
        """Train the student and save it, unless it is there already. A killed run continues from its last checkpoint.

        Under torchrun every process calls this. The first one plans, tokenises and saves for all.

        Returns:
            `loss` and, where rows are held out, `validation_loss` at the end.

        Raises:
            MukiError: The golden table is missing, damaged or made for another temperature; the model cannot be loaded;
                the training diverged.
        """
        plan = first_decides(self._plan)
        if plan.finished is not None:
            _LOG.info("%s is of this table and these settings already", self.output)
            self._renew_card(plan)
            return plan.finished
        _LOG.info("%s starts from %s, in %s", self.name, self.settings.model, plan.settings.precision)
        from muki_pipeline.training.student.fit import fit  # torch and transformers: only where something is trained

        return fit(plan, progress)

    def is_begun(self) -> bool:
        """Whether an earlier run has left something from which this one goes on; for a named arithmetic."""
        return files.exists(self.work / training_key(self.settings, open_golden(self.golden).shards, self.root))

    def _renew_card(self, plan: Plan) -> None:
        """A card that quotes another number of texts than is asked for now is written anew."""
        asked = plan.settings.card_examples
        if is_first() and find_student(self.output).training["settings"]["card_examples"] != asked:
            from muki_pipeline.training.student.fit import renew_card

            renew_card(plan)

    def _plan(self) -> Plan:
        """Open the golden table, settle the arithmetic, and look for the student."""
        table = open_golden(self.golden)
        shards, facts = table.shards, table.facts
        if facts["temperature"] != self.settings.temperature:
            what = f"was made for temperature {facts['temperature']}"
            what += f", but student.temperature is {self.settings.temperature}"
            raise MukiError(what, where=str(self.golden), fix=MAKE_GOLDEN)

        def finished(settings: StudentSettings) -> bool:
            return trained_before(self.output, training_key(settings, shards, self.root)) is not None

        def kept(settings: StudentSettings) -> bool:
            return is_kept(self.kept, training_key(settings, shards, self.root))

        def begun(settings: StudentSettings) -> bool:
            return files.exists(self.work / training_key(settings, shards, self.root))

        settings = settled(self.settings, finished, kept, begun)
        key = training_key(settings, shards, self.root)
        return Plan(
            settings=settings,
            facts=facts,
            key=key,
            supervision=supervision_digest(shards),
            finished=found(self.output, self.kept, key),
            golden=self.golden,
            output=self.output,
            work=self.work,
            root=self.root,
            name=self.name,
        )
