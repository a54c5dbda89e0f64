"""Names in settings and files."""

from muki_pipeline.names import name_unknown


def test_the_most_frequent_unknown_labels_come_first_in_whatever_order_they_are_stored() -> None:
    unknown = {**{f"a{number}": 1 for number in range(9)}, "zebra": 500}
    assert name_unknown(unknown, ["oak"]).startswith("'zebra' (500), 'a0' (1)")
