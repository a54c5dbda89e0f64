"""What the student, the routed teachers and the golden supervision are worth, where gold labels are known."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from pipeline import corpus, golden, metrics, store
from pipeline.batching import by_token_budget, collate, tokenise
from pipeline.config import Params, Scorer
from pipeline.errors import MukiError
from pipeline.integration import best_teacher, golden_targets, hard_weights
from pipeline.label_store import ensure
from pipeline.labelling import Labeller, Progress, choose_device
from pipeline.labels import Labels, from_table, open_labels
from pipeline.layout import MAKE_CORPUS, MAKE_STUDENT, Layout
from pipeline.teachers import locate
from pipeline.uncertainty import normalised_uncertainty, softmax
from pipeline.vocabulary import Vocabulary, union

SCORERS: tuple[Scorer, ...] = ("mc_entropy", "entropy", "mutual_information")
HISTOGRAM_BINS = 25


@dataclass(frozen=True)
class Evaluation:
    """All that `evaluate` found out.

    Attributes:
        metrics: What goes into data/metrics.json; a measure that cannot be taken is absent.
        confusion: `actual`, `predicted`, a row a test text; empty without a test set.
        uncertainty: `scorer`, `teacher` ("right" or "wrong"), `uncertainty` (bin centre), `share`; empty without gold.
    """

    metrics: dict[str, Any]
    confusion: pl.DataFrame
    uncertainty: pl.DataFrame


def evaluate(params: Params, layout: Layout, begin: Callable[[str, int], Progress]) -> Evaluation:
    """Measure everything that the gold labels at hand allow.

    Args:
        params: All settings.
        layout: Where the tables, the teachers and the student lie.
        begin: Told the name and the number of texts of each piece of work, before it starts.

    Raises:
        MukiError: There is neither a test set nor gold labels of the corpus; a table is missing or does not fit.
    """
    if not layout.test.exists() and not layout.corpus_gold.exists():
        raise MukiError(
            "there are no gold labels, so nothing can be measured",
            where=str(layout.gold),
            fix="Name a test set (prepare.test) or the corpus's label column (prepare.corpus.label)",
        )
    measured: dict[str, Any] = {}
    confusion, uncertainty = pl.DataFrame(), pl.DataFrame()
    if layout.corpus_gold.exists():
        measured["corpus"], uncertainty = _supervision(params, layout)
    if layout.test.exists():
        test, confusion = _test_set(params, layout, begin)
        measured.update(test)
    return Evaluation(measured, confusion, uncertainty)


def _supervision(params: Params, layout: Layout) -> tuple[dict[str, Any], pl.DataFrame]:
    """Teacher selection and golden targets against the corpus's gold labels, for every scorer."""
    shards = corpus.corpus_shards(layout.corpus)
    tables = open_labels(layout, list(params.teachers), params.label, shards)
    vocabulary = union(tables.labels, params.integrate.aliases)
    gold_table = store.read_file(layout.corpus_gold, ["id", "label"], MAKE_CORPUS)
    gold = dict(zip(gold_table["id"].to_pylist(), gold_table["label"].to_pylist(), strict=True))
    ids, labels = [], []
    for number, shard in enumerate(shards):
        own = store.series(corpus.read_shard(layout.corpus, shard)["id"])
        labels.append(tables.read(number, own))
        ids.extend(own.to_list())
    if absent := sum(text_id not in gold for text_id in ids):
        raise MukiError(
            f"has no label for {absent} texts of the corpus", where=str(layout.corpus_gold), fix=MAKE_CORPUS
        )
    names = [gold[text_id] for text_id in ids]
    known = np.array([name in vocabulary.labels for name in names])
    if not known.any():
        raise MukiError("none of its labels is a teacher's", where=str(layout.corpus_gold), fix="Set integrate.aliases")
    columns = np.array([vocabulary.labels.index(name) for name in np.array(names)[known]])
    right = vocabulary.known[columns]
    measured: dict[str, Any] = {"rows": len(ids), "rows_of_known_labels": int(known.sum())}
    panels = []
    for scorer in SCORERS:
        settings = params.integrate.model_copy(update={"scorer": scorer})
        parts = [golden.supervise(part, vocabulary, settings, params.student.temperature) for part in labels]
        targets = np.concatenate([part.targets for part in parts])[known]
        scores = np.concatenate([part.scores for part in parts])[known]
        measured[scorer] = _present(
            {
                "right_teacher_best": float(right[np.arange(len(right)), best_teacher(scores)].mean()),
                "right_teacher_auroc": metrics.auroc(scores.ravel(), right.ravel()),
                "target_accuracy": metrics.accuracy(targets.argmax(axis=1), columns),
                "target_kl_to_gold": metrics.kl_to_gold(targets, columns),
            }
        )
        uncertainty = np.concatenate([_uncertainty(scorer, part) for part in labels])[known]
        panels.append(_histogram(scorer, uncertainty, right))
    return measured, pl.concat(panels)


def _present(measures: Mapping[str, float | None]) -> dict[str, float]:
    """Measures without those that cannot be taken: a number is right or absent."""
    return {name: value for name, value in measures.items() if value is not None}


def _uncertainty(scorer: str, labels: list[Labels]) -> NDArray[np.float64]:
    return np.stack(
        [normalised_uncertainty(scorer, each.entropy, each.expected_entropy, each.logits) for each in labels], axis=1
    )


def _histogram(scorer: str, uncertainty: NDArray[np.float64], right: NDArray[np.bool_]) -> pl.DataFrame:
    """Shares of right and of wrong (text, teacher) pairs by normalised uncertainty: MUKI, Figure 2."""
    # Each scorer on its own range: mutual information keeps to the lowest tenths of what entropy may reach.
    edges = np.linspace(0, max(float(uncertainty.max()), 1e-6), HISTOGRAM_BINS + 1)
    centres = (edges[:-1] + edges[1:]) / 2
    panels = []
    for name, chosen in (("right", right), ("wrong", ~right)):
        counts, _ = np.histogram(uncertainty[chosen], bins=edges)
        share = counts / max(counts.sum(), 1)
        panels.append(pl.DataFrame({"scorer": scorer, "teacher": name, "uncertainty": centres, "share": share}))
    return pl.concat(panels)


def _test_set(
    params: Params, layout: Layout, begin: Callable[[str, int], Progress]
) -> tuple[dict[str, Any], pl.DataFrame]:
    """Student, routed teachers and single teachers on the test set."""
    test = pl.DataFrame(pl.from_arrow(store.read_file(layout.test, ["id", "text", "label"], MAKE_CORPUS)))
    labellers = {
        name: Labeller(locate(name, teacher, layout.root), params.label) for name, teacher in params.teachers.items()
    }
    vocabulary = union({name: each.files.labels for name, each in labellers.items()}, params.integrate.aliases)
    known = test.filter(pl.col("label").is_in(vocabulary.labels))
    if known.is_empty():
        raise MukiError("none of its labels is a teacher's", where=str(layout.test), fix="Set integrate.aliases")
    gold = np.array([vocabulary.labels.index(label) for label in known["label"]])
    blocks = vocabulary.known[gold]
    probs = predict_student(layout, vocabulary, known["text"].to_list(), params, begin)
    predicted = probs.argmax(axis=1)
    measured: dict[str, Any] = {
        "student": {
            "rows": len(known),
            "accuracy": metrics.accuracy(predicted, gold),
            "macro_f1": metrics.macro_f1(predicted, gold, len(vocabulary.labels)),
            "expected_calibration_error": metrics.expected_calibration_error(probs, gold),
            "block_accuracy": {
                name: metrics.accuracy(predicted[blocks[:, number]], gold[blocks[:, number]])
                for number, name in enumerate(labellers)
                if blocks[:, number].any()
            },
        },
        "teachers": {},
    }
    for number, (name, labeller) in enumerate(labellers.items()):
        own = blocks[:, number]
        if own.any():
            texts = known.filter(own)["text"].to_list()
            logits = labeller.logits(texts, begin(f"{name} on its own block", len(texts)))
            columns = vocabulary.columns[number][logits.argmax(axis=1)]
            measured["teachers"][name] = {
                "rows": len(texts),
                "own_block_accuracy": metrics.accuracy(columns, gold[own]),
            }
    chosen = _sample(known["label"], params.evaluate.routing_rows_per_label)
    routed = _route(params, layout, known.filter(chosen), labellers, vocabulary, begin)
    measured["routed_teachers"] = {
        "rows": int(chosen.sum()),
        "accuracy": metrics.accuracy(routed, gold[chosen]),
        "student_accuracy_on_these": metrics.accuracy(predicted[chosen], gold[chosen]),
    }
    named = np.array(vocabulary.labels)
    return measured, pl.DataFrame({"actual": named[gold], "predicted": named[predicted]})


def predict_student(
    layout: Layout, vocabulary: Vocabulary, texts: list[str], params: Params, begin: Callable[[str, int], Progress]
) -> NDArray[np.float64]:
    """The student's probabilities `[texts, union]`.

    Raises:
        MukiError: There is no student, or it knows other labels than the teachers' union.
    """
    if not (layout.student / "config.json").exists():
        raise MukiError("there is no student", where=str(layout.student), fix=MAKE_STUDENT)
    model = AutoModelForSequenceClassification.from_pretrained(
        layout.student, use_safetensors=True, dtype=torch.float32
    )
    tokenizer = AutoTokenizer.from_pretrained(layout.student)
    labels = tuple(model.config.id2label[number] for number in range(model.config.num_labels))
    if labels != vocabulary.labels:
        raise MukiError(
            f"it knows {len(labels)} labels that are not the union of the teachers' {len(vocabulary.labels)}",
            where=str(layout.student),
            fix="Run muki-pipeline integrate and train-student",
        )
    device = choose_device(params.label.device)
    model = model.eval().to(device)
    progress = begin("student", len(texts))
    tokens = tokenise(tokenizer, texts, params.student.max_length)
    logits = np.empty((len(texts), len(labels)), dtype=np.float32)
    with torch.inference_mode():
        for rows in by_token_budget(tokens.lengths, params.label.token_budget):
            logits[rows] = model(**collate(tokenizer, tokens, rows, device).inputs).logits.float().cpu().numpy()
            progress(len(rows))
    return softmax(logits)


def _sample(labels: pl.Series, per_label: int | None) -> NDArray[np.bool_]:
    """The first rows of each label, as many as are asked for; all of them by default."""
    if per_label is None:
        return np.ones(len(labels), dtype=bool)
    numbers = labels.to_frame("label").select(pl.int_range(pl.len()).over("label"))[:, 0]
    return (numbers < per_label).to_numpy()


def _route(
    params: Params,
    layout: Layout,
    rows: pl.DataFrame,
    labellers: Mapping[str, Labeller],
    vocabulary: Vocabulary,
    begin: Callable[[str, int], Progress],
) -> NDArray[np.intp]:
    """Prediction of the hard rule itself: the label of the teacher with the best score, `[rows]`.

    The rows are labelled as a corpus shard would be, and kept in the work folder: it is done once.
    """
    table = rows.select("id", "text").to_arrow(compat_level=pl.CompatLevel.oldest())
    digest = corpus.content_digest(table)
    labels = []
    for name, labeller in labellers.items():
        progress = begin(f"{name} for routing", len(rows) * (params.label.passes + 1))
        path, shard = ensure(labeller, table, digest, layout.work, progress)
        labels.append(from_table(store.read_shard(path.parent, shard, "Run muki-pipeline evaluate again")))
    scores = golden.score(params.integrate.scorer, labels)
    distributions = [softmax(each.logits) for each in labels]
    predicted: NDArray[np.intp] = golden_targets(hard_weights(scores, 1.0), distributions, vocabulary).argmax(axis=1)
    return predicted
