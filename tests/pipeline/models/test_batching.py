import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from muki_pipeline.models.batching import by_token_budget, collate, tokenise
from tests import tiny


@given(st.lists(st.integers(0, 50), min_size=1, max_size=80), st.integers(1, 300))
def test_every_row_is_in_one_batch_within_the_budget(lengths: list[int], budget: int) -> None:
    batches = by_token_budget(np.array(lengths, dtype=np.int32), budget)
    assert sorted(np.concatenate(batches)) == list(range(len(lengths)))
    for batch in batches:
        longest = max(lengths[row] for row in batch)
        assert len(batch) == 1 or longest * len(batch) <= max(budget, len(batch))
    longest_first = [max(lengths[row] for row in batch) for batch in batches]
    assert longest_first == sorted(longest_first, reverse=True)


def test_no_rows_make_no_batches() -> None:
    assert by_token_budget(np.array([], dtype=np.int32), 10) == []


def test_long_texts_are_cut_and_counted_and_empty_ones_kept() -> None:
    tokens = tokenise(tiny.tokenizer(), ["w1 w2 w3", "", " ".join(["w4"] * 40)], max_length=10)
    assert tokens.lengths.tolist() == [5, 2, 10]
    assert tokens.truncated.tolist() == [False, False, True]
    assert tokens.features["input_ids"][2] == [1, *[tiny.VOCABULARY["w4"]] * 8, 2]


def test_padding_is_on_the_right_even_if_the_tokenizer_pads_left() -> None:
    tokenizer = tiny.tokenizer()
    tokenizer.padding_side = "left"
    tokens = tokenise(tokenizer, ["w1", "w1 w2 w3"], max_length=10)
    batch = collate(tokens, np.array([1, 0]), 0, torch.device("cpu"))
    assert batch.rows.tolist() == [1, 0]
    assert batch.inputs["input_ids"][1].tolist() == [1, tiny.VOCABULARY["w1"], 2, 0, 0]
    assert batch.inputs["attention_mask"].tolist() == [[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]
