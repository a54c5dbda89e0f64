"""Reading the store with polars: what teachers say, where they disagree, and what the student learns from it.

    python examples/inspect_store.py data

Nothing of muki-pipeline is imported: the tables are plain Parquet.
"""

import json
import sys
from pathlib import Path

import polars as pl


def main(data: Path) -> None:
    """Print three views of the store."""
    # Every table has a manifest. The golden table's says which labels its vectors stand for, and who the teachers are.
    facts = json.loads((data / "golden" / "manifest.json").read_text())
    labels, teachers = facts["labels"], list(facts["teachers"])

    # 1. How sure is each teacher? Predictive entropy splits into the part that the passes agree on (expected entropy)
    # and their disagreement, the mutual information: large for texts that the teacher was not trained for.
    for teacher in teachers:
        table = pl.read_parquet(data / "labels" / teacher / "*.parquet")
        means = table.select(
            pl.col("entropy").mean(),
            mutual_information=(pl.col("entropy") - pl.col("expected_entropy")).mean(),
            cut=pl.col("truncated").mean(),
        )
        print(f"{teacher}: {means.row(0, named=True)}")

    # 2. The texts on which the two best teachers are closest: they count least in the student's loss.
    golden = pl.read_parquet(data / "golden" / "*.parquet")
    print(golden.sort("margin").select("text", "teacher", "margin").head(5))

    # 3. What the student learns: the most likely label of each target, and how many texts each label gets.
    most_likely = pl.col("target").arr.arg_max()
    counts = golden.select(label=most_likely.replace_strict(dict(enumerate(labels)), return_dtype=pl.String))
    print(counts.group_by("label").len().sort("len", descending=True))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
