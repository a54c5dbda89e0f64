import numpy as np
import pytest
import torch

from muki_pipeline.labelling.network.masks import Masks, Site, drop, keep_mask

CPU = torch.device("cpu")
DOUBLE = torch.zeros((), dtype=torch.float64)


def squares(counter: int, key: int) -> int:
    """Widynski's Squares generator in plain integers, as the paper prints it."""
    bits = 2**64
    x = y = counter * key % bits
    z = (y + key) % bits
    for addend in (y, z, y):
        x = (x * x + addend) % bits
        x = (x >> 32) | (x << 32) % bits
    return ((x * x + z) % bits) >> 32


def test_mask_is_the_published_generator() -> None:
    key = 0xC58EFD154CE32F6D
    mask = keep_mask(key, (3, 5, 7), 0.3, CPU)
    for (head, row, column), kept in np.ndenumerate(mask.numpy()):
        assert kept == (squares((head << 40) + (row << 20) + column, key) >= round(0.3 * 2**32))


@pytest.mark.parametrize("p", [0.1, 0.3, 0.5])
def test_keep_rate_over_a_million_elements(p: float) -> None:
    kept = keep_mask(12345678901234567891, (1000, 1000), p, CPU).double()
    deviation = (p * (1 - p) / kept.numel()) ** 0.5
    assert abs(kept.mean().item() - (1 - p)) < 4 * deviation


def test_elements_are_independent_of_neighbours_passes_and_sites() -> None:
    site, other = Site("layer", "module", 0.1, 1), Site("other", "module", 0.1, 1)
    masks = Masks(seed=3, teacher="t")
    masks.begin(0, 1)
    first, beside = (masks.kept(each, (1000, 1000), DOUBLE) for each in (site, other))
    masks.begin(1, 1)
    second = masks.kept(site, (1000, 1000), DOUBLE)
    pairs = {
        "next column": (first[:, 1:], first[:, :-1]),
        "next row": (first[1:], first[:-1]),
        "next pass": (first, second),
        "other site": (first, beside),
    }
    for name, (a, b) in pairs.items():
        correlation = torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1].item()
        assert abs(correlation) < 4 / a.numel() ** 0.5, name


def test_a_shorter_mask_is_a_corner_of_a_longer_one() -> None:
    long = keep_mask(99, (2, 40, 40), 0.2, CPU)
    assert torch.equal(keep_mask(99, (2, 7, 11), 0.2, CPU), long[:, :7, :11])


def test_masks_grow_without_changing() -> None:
    site = Site("layer", "module", 0.5, 1)
    masks = Masks(seed=0, teacher="t")
    masks.begin(4, 1)
    short = masks.kept(site, (3, 8), DOUBLE).clone()
    long = masks.kept(site, (9, 8), DOUBLE)
    assert torch.equal(long[:3], short)
    assert set(long.unique().tolist()) == {0.0, 1.0}


def test_every_part_of_the_key_matters() -> None:
    def mask(seed: int, teacher: str, number: int, name: str) -> torch.Tensor:
        masks = Masks(seed, teacher)
        masks.begin(number, 1)
        return masks.kept(Site(name, "module", 0.5, 1), (64, 64), DOUBLE)

    base = mask(0, "a", 0, "x")
    assert torch.equal(base, mask(0, "a", 0, "x"))
    for other in (mask(1, "a", 0, "x"), mask(0, "b", 0, "x"), mask(0, "a", 1, "x"), mask(0, "a", 0, "y")):
        assert not torch.equal(base, other)


def test_axes_beyond_the_counter_are_refused() -> None:
    with pytest.raises(ValueError, match="too long"):
        keep_mask(1, (2, 1 << 20), 0.1, CPU)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_is_kept_is_rounded_once_and_not_on_the_average_less(dtype: torch.dtype) -> None:
    x = torch.rand((64, 64)).to(dtype)
    kept = keep_mask(5, (64, 64), 0.1, CPU)
    dropped = drop(x, kept.to(dtype), 0.1)
    assert dropped.dtype == dtype
    exact = (x.double() / 0.9 * kept).to(dtype)
    torch.testing.assert_close(dropped, exact, rtol=2e-7 if dtype == torch.float32 else 0, atol=0)
