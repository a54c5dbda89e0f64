"""A minute of the campaign of faults (`make faults`)."""

import pytest

from tests.faults.__main__ import main


@pytest.mark.slow
def test_a_minute_of_faults_does_no_harm() -> None:
    rows = main(budget=45, share=0.03, kills=2, flips=20, rounds=7)
    assert {kind: row.bad for kind, row in rows.items() if row.bad} == {}
    assert sum(row.runs for kind, row in rows.items() if not kind.startswith("not run")) > 30
