"""CLINC150 (Larson et al. 2019) -> data/train.csv and data/test.csv beside this file, columns text and label.

From data_full.json in the folder that the environment variable CLINC150 names or, without it, from the hub's
clinc/clinc_oos. Out-of-scope queries are labelled oos, which no teacher knows: in the corpus they measure abstention.
"""

import json
import os
from pathlib import Path

import polars as pl
from datasets import load_dataset

SPLITS = {"train": ("train", "oos_train", "oos_val"), "test": ("test",)}
Rows = list[tuple[str, str]]


def from_folder(folder: Path) -> dict[str, Rows]:
    """Text and label of each part's rows."""
    data = json.loads((folder / "data_full.json").read_text())
    return {name: [(text, label) for split in splits for text, label in data[split]] for name, splits in SPLITS.items()}


def from_hub() -> dict[str, Rows]:
    """The same from the hub, where the out-of-scope queries stand among the others."""
    parts = {}
    for name, splits in {"train": ("train", "validation"), "test": ("test",)}.items():
        rows: Rows = []
        for split in splits:
            data = load_dataset("clinc/clinc_oos", "plus", split=split)
            names = data.features["intent"].names
            pairs = [(row["text"], names[row["intent"]]) for row in data]
            # Of the validation split only its out-of-scope queries; of the test split all but those.
            rows += [pair for pair in pairs if split == "train" or (pair[1] == "oos") == (split == "validation")]
        parts[name] = rows
    return parts


def main() -> None:
    """Write both files."""
    folder = os.environ.get("CLINC150")
    parts = from_folder(Path(folder)) if folder else from_hub()
    target = Path(__file__).parent / "data"
    target.mkdir(exist_ok=True)
    for name, rows in parts.items():
        pl.DataFrame(rows, schema=["text", "label"], orient="row").write_csv(target / f"{name}.csv")
        print(f"{target / name}.csv: {len(rows):,} texts")


if __name__ == "__main__":
    main()
