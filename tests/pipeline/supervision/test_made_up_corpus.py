"""The corpus that `make bench` and `make scale` make up is one that stage two takes: nothing else would tell."""

from pathlib import Path

import polars as pl
import pytest

from tests.benchmarks import integration


@pytest.mark.parametrize("scorer", ["mc_entropy", "gate"])
def test_stage_two_takes_the_corpus_of_the_benchmarks(tmp_path: Path, scorer: str) -> None:
    integration.write_project(tmp_path / "few", 300)
    integration.run_integrate(str(tmp_path / "few"), scorer)
    golden = pl.read_parquet(tmp_path / "few" / "data" / "golden" / "*.parquet")
    assert len(golden) == 300
    assert golden["teacher"].n_unique() == len(integration.TEACHERS)
