"""Writes docs/settings.md, docs/tables.md and dvc.yaml: `make docs`. A test checks that they are current."""

from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pyarrow as pa
from pydantic import BaseModel

from muki_pipeline import config
from muki_pipeline.tables import schema
from tests import repository

DOCS = Path(__file__).parents[1] / "docs"


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
        return " or ".join(kind(each) for each in schema_of_field["anyOf"] if each.get("type") != "null")
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
        return f"list of {kind(schema_of_field['items'])}"
    if schema_of_field["type"] == "object":
        return "a block for each name"
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    bounds = [f"{sign} {schema_of_field[bound]:,}" for bound, sign in signs.items() if bound in schema_of_field]
    return " ".join([names[schema_of_field["type"]], *([f"({', '.join(bounds)})"] if bounds else [])])


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
    """docs/settings.md."""
    lines = [
        "# Settings",
        "",
        "Every key of `params.yaml`, generated from `config.py`. The `params.yaml` in this repository is the",
        "demo's. Unknown keys, repeated keys and YAML aliases are errors.",
        "",
    ]
    seen: set[type[BaseModel]] = set()
    for key, model in blocks(config.Params, ""):
        if model in seen:
            continue
        seen.add(model)
        title = f"`{key}`" if key else "The blocks"
        properties = model.model_json_schema()["properties"]
        lines += [
            f"## {title}",
            "",
            (model.__doc__ or "").strip(),
            "",
            "| key | values | default | meaning |",
            "|---|---|---|---|",
        ]
        for name, field in model.model_fields.items():
            meaning = " ".join((field.description or "").split())
            values = kind(properties[name]).replace("|", "\\|")
            lines.append(f"| `{name}` | {values} | {default(field)} | {meaning} |")
        lines.append("")
    return "\n".join(lines)


TABLES = {
    "`data/corpus/`": (schema.CORPUS, "One file per shard."),
    "`data/labels/TEACHER/`": (schema.LABELS, "One file per corpus shard, with its rows in the same order."),
    "`data/labels/TEACHER/features/`": (schema.FEATURES, "As above, where `label.features` is set."),
    "`data/golden/`": (
        (*schema.GOLDEN, schema.TEACHER_TARGETS, schema.TEACHER_FEATURES),
        "As above. `teacher_targets` is there for the strategy `uhc` only, `teacher_features` for `cfl` and `dfa`.",
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
    "size": "the head's inputs",
    "all_features": "the inputs of all teachers' heads",
}


FLOATS = {pa.float32(): "float32", pa.float16(): "float16"}


def columns(table: tuple[schema.Column, ...]) -> list[str]:
    """A table of columns."""
    lines = ["| column | type | meaning |", "|---|---|---|"]
    for column in table:
        is_vector = isinstance(column.type, str)
        shown = f"{FLOATS[column.number]} for each of {WIDTHS[str(column.type)]}" if is_vector else str(column.type)
        lines.append(f"| `{column.name}` | {shown} | {column.meaning} |")
    return lines


def tables() -> str:
    """The generated part of docs/tables.md."""
    lines = []
    for title, (table, note) in TABLES.items():
        lines += [f"### {title}", "", note, "", *columns(table), ""]
    return "\n".join(lines)


BEGIN, END = "<!-- generated by make docs -->", "<!-- end of the generated part -->"


def with_tables(page: str) -> str:
    """docs/tables.md with its generated part made anew."""
    before, rest = page.split(BEGIN)
    return f"{before}{BEGIN}\n\n{tables()}\n{END}{rest.split(END)[1]}"


def main() -> None:
    """Write both pages, and the demo's dvc.yaml."""
    (DOCS / "settings.md").write_text(settings())
    path = DOCS / "tables.md"
    path.write_text(with_tables(path.read_text()))
    (repository.ROOT / "dvc.yaml").write_text(repository.stages(repository.ROOT / "params.yaml"))


if __name__ == "__main__":
    main()
