"""Writes the generated parts of README and docs/, and dvc.yaml: `make docs`. A test checks that they are current.

A part stands between `<!-- make docs: NAME -->` and `<!-- end of NAME -->`; `PARTS` makes each.
"""

import re
from collections import Counter
from collections.abc import Callable
from inspect import cleandoc
from typing import Any, Literal, get_args, get_origin

import pyarrow as pa
from pydantic import BaseModel

from experiments.record import read
from muki_pipeline import config
from muki_pipeline.blocks import Block
from muki_pipeline.evaluation.comparison.rules import RULES
from muki_pipeline.reporting.figures import png
from muki_pipeline.routing.scorers import SCORERS
from muki_pipeline.store import schema
from muki_pipeline.supervision.strategies import STRATEGIES
from tests import measured, repository, rivals_tables
from tests.measured import table

PAGES = [repository.ROOT / "README.md", *sorted((repository.ROOT / "docs").glob("*.md"))]
BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
Cells = tuple[str, str, str, str]
LARGEST = 2**31
"""Bounds from here on are those of the types; the page names them once."""


def blocks(model: type[BaseModel], key: str) -> list[tuple[str, type[BaseModel]]]:
    """A block and the blocks in it, each with its key in params.yaml."""
    found = [(key, model)]
    for name, field in model.model_fields.items():
        inner = [each for each in leaves(field.annotation) if isinstance(each, type) and issubclass(each, BaseModel)]
        is_named = get_origin(field.annotation) is dict or "dict[" in str(field.annotation)
        for block in inner:
            found += blocks(block, f"{key}.{name}".lstrip(".") + (".NAME" if is_named else ""))
    return found


def leaves(annotation: Any) -> list[Any]:
    """The plain types in a type annotation."""
    inner = get_args(annotation)
    if not inner or get_origin(annotation) is Literal:
        return [annotation]
    return [leaf for each in inner for leaf in leaves(each)]


def kind(schema_of_field: dict[str, Any]) -> str:
    """A field's type and bounds in words, from its JSON schema."""
    if "anyOf" in schema_of_field:
        kinds = [each for each in schema_of_field["anyOf"] if each.get("type") != "null"]
        is_one_list = all("enum" in each or "const" in each for each in kinds)
        return (", " if is_one_list else " or ").join(kind(each) for each in kinds)
    if "enum" in schema_of_field:
        return ", ".join(f"`{value}`" for value in schema_of_field["enum"]).replace("\t", "\\t")
    if "const" in schema_of_field:
        return f"`{schema_of_field['const']}`"
    if "$ref" in schema_of_field or "allOf" in schema_of_field:
        return "a block"
    names = {
        "string": "text",
        "integer": "integer",
        "number": "number",
        "boolean": "`true` or `false`",
        "null": "nothing",
    }
    if schema_of_field["type"] == "array":
        return f"list of {kind(schema_of_field['items']).replace('a block', 'blocks')}"
    if schema_of_field["type"] == "object":
        return "a block for each name"
    given = {sign: schema_of_field[bound] for bound, sign in BOUNDS.items() if bound in schema_of_field}
    bounds = [f"{sign} {value:,}" for sign, value in given.items() if value < LARGEST]
    return " ".join([names[schema_of_field["type"]], *([", ".join(bounds)] if bounds else [])])


def default(field: Any) -> str:
    """A field's default as YAML."""
    if field.is_required():
        return "required"
    if field.default is None:
        return "none"
    if isinstance(field.default, BaseModel):
        return "its defaults"
    return f"`{str(field.default).lower() if isinstance(field.default, bool) else field.default}`"


def settings() -> str:
    """Every block of params.yaml; keys that a block shares with an earlier one of the same base are named alone."""
    lines: list[str] = []
    keys: dict[type[BaseModel], str] = {}
    for key, model in blocks(config.Params, ""):
        keys.setdefault(model, key)
    times = Counter(keys.values())
    shown: dict[type | None, tuple[str, dict[str, Cells]]] = {}
    # What only the demo and the experiments use comes last.
    for model, key in sorted(keys.items(), key=lambda each: each[1].startswith("train_teacher")):
        rows = {
            name: cells(model, name) for name in sorted(model.model_fields, key=lambda name: name not in own(model))
        }
        earlier, theirs = shown.get(model.__base__, ("", {}))
        shared = [name for name, row in rows.items() if theirs.get(name) == row]
        kind_of_block = f" with `{next(iter(rows))}`" if times[key] > 1 else ""
        lines += [f"## {f'`{key}`' if key else 'The blocks'}{kind_of_block}", "", cleandoc(model.__doc__ or ""), ""]
        lines += table(("key", "values", "default", "meaning"), [rows[name] for name in rows if name not in shared])
        if shared:
            lines += ["", f"As in `{earlier}`: {', '.join(f'`{name}`' for name in shared)}."]
        lines.append("")
        if model.__base__ is not Block:
            shown.setdefault(model.__base__, (key, rows))
    return "\n".join(lines).strip()


def own(model: type[BaseModel]) -> set[str]:
    """The keys that a block does not inherit."""
    return set(vars(model)["__annotations__"])


def cells(model: type[BaseModel], name: str) -> Cells:
    """A field's row: key, values, default and meaning."""
    field = model.model_fields[name]
    values = kind(model.model_json_schema()["properties"][name]).replace("|", "\\|")
    return f"`{name}`", values, default(field), " ".join((field.description or "").split())


TABLES = {
    "`data/corpus/`": (schema.CORPUS, "One file per shard."),
    "`data/labels/TEACHER/`": (
        (*schema.LABELS, schema.ANSWERS),
        "One file per corpus shard, with its rows in the same order. `answers` is there for files of answers only.",
    ),
    "`data/labels/TEACHER/features/`": (schema.FEATURES, "As above, where `label.features` is set."),
    "`data/embeddings/texts/`": (schema.EMBEDDINGS, "One file per corpus shard, with its rows in the same order."),
    "`data/embeddings/names/`": (schema.LABEL_NAMES, "One file."),
    "`data/golden/`": (
        (*schema.GOLDEN, schema.TEACHER_TARGETS, schema.TEACHER_FEATURES),
        "One file per corpus shard. `teacher_targets` is there for `uhc` only, `teacher_features` for `cfl` and `dfa`.",
    ),
    "`data/eval/test.parquet`, `data/eval/teacher_train.parquet`": (
        schema.GOLD_TEXTS,
        "Labelled texts, where there are any.",
    ),
    "`data/eval/corpus_gold.parquet`": (schema.CORPUS_GOLD, "Gold labels of the corpus, where they are known."),
}
WIDTHS = {
    "labels": "the teacher's labels",
    "union": "all labels",
    "teachers": "the teachers",
    "all_labels": "the labels of all teachers",
    "size": "the network's features",
    "all_features": "the inputs of all teachers' heads",
}


def rules() -> str:
    """Every rule of `compare`."""
    rows = []
    for name, (changes, temperature) in RULES.items():
        strategy = STRATEGIES[changes["strategy"]]
        scorer = f"`{changes['scorer']}`: {SCORERS[changes['scorer']].title}" if strategy.selects else "none"
        needs = ", with `label.features: true`" if strategy.reads_features else ""
        rows.append((f"`{name}`", f"`{changes['strategy']}`{needs}", scorer, f"{temperature:g}"))
    return "\n".join(table(("rule", "strategy", "scorer", "T"), rows))


FLOATS = {pa.float32(): "float32", pa.float16(): "float16"}


def columns(columns_of_table: tuple[schema.Column, ...], seen: set[schema.Column]) -> list[str]:
    """A table of columns; those that an earlier table has are named alone."""
    rows = []
    for column in columns_of_table:
        is_vector = isinstance(column.type, str)
        shown = f"{FLOATS[column.number]} for each of {WIDTHS[str(column.type)]}" if is_vector else str(column.type)
        rows.append((f"`{column.name}`", shown, "as above" if column in seen else column.meaning))
    seen.update(columns_of_table)
    return table(("column", "type", "meaning"), rows)


def tables() -> str:
    """Every table's columns."""
    lines: list[str] = []
    seen: set[schema.Column] = set()
    for title, (columns_of_table, note) in TABLES.items():
        lines += [f"### {title}", "", note, "", *columns(columns_of_table, seen), ""]
    return "\n".join(lines).strip()


PARTS: dict[str, Callable[[], str]] = {"settings": settings, "tables": tables, "rules": rules, **measured.PARTS}
MARKED = re.compile(r"(<!-- make docs: (\S+) -->\n).*?(<!-- end of \2 -->)", re.DOTALL)


def parts_of(page: str) -> list[str]:
    """Names of a page's generated parts."""
    return [found[2] for found in MARKED.finditer(page)]


def current(page: str) -> str:
    """A page with its generated parts as they must be."""
    return MARKED.sub(lambda found: f"{found[1]}\n{PARTS[found[2]]()}\n\n{found[3]}", page)


def main() -> None:
    """Write the pages and their figure, and the demo's dvc.yaml."""
    for path in PAGES:
        path.write_text(current(path.read_text()))
    if (figure := rivals_tables.gold_figure(read("rivals"))) is not None:
        (repository.ROOT / "docs" / "gold_labels.png").write_bytes(png(figure))
    (repository.ROOT / "dvc.yaml").write_text(repository.stages(repository.ROOT / "params.yaml"))


if __name__ == "__main__":
    main()
