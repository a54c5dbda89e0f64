"""What charts are drawn with."""

import pytest

from muki_pipeline.reporting.report.charts.svg import (
    Bar,
    Plane,
    bars,
    drawing,
    element,
    percent,
    series,
    short_number,
    shorten,
    ticks,
)


def test_no_name_is_read_as_svg() -> None:
    made = element("text", element("title", "<b>"), "a & b", x=1.5, text_anchor="end", class_='"tick"')
    expected = '<text x="1.5" text-anchor="end" class="&#34;tick&#34;"><title>&lt;b&gt;</title>a &amp; b</text>'
    assert str(made) == expected


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0, 1100, [0, 250, 500, 750, 1000]),
        (0.61, 0.99, [0.7, 0.8, 0.9]),
        (3, 3, [3]),
    ],
)
def test_ticks_are_round_numbers_within_the_range(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high) == pytest.approx(expected)


def test_numbers_are_short() -> None:
    numbers = (0, 0.25, 1200, 25000, 2.5e6)
    assert [short_number(value) for value in numbers] == ["0", "0.25", "1,200", "25k", "2.5M"]
    assert percent(0.25) == "25 %"


def test_long_names_are_cut_and_wide_letters_count_twice() -> None:
    assert shorten("a\n b", 9) == "a b"
    assert shorten("abcdefghij", 6) == "abcde…"
    assert shorten("退款退款退款", 6) == "退款…"
    assert shorten(" ", 9) == "(blank)"


def test_places_follow_the_scales() -> None:
    plane = Plane((0.0, 2.0), (0.0, 10.0))
    assert plane.at_x(0) == plane.left
    assert plane.at_x(2) == plane.right
    assert plane.at_y(0) == plane.bottom
    assert plane.at_y(10) == 12.0
    axes = plane.axes("seconds", "<texts>")
    assert ">seconds</text>" in axes
    assert ">&lt;texts&gt;</text>" in axes
    assert Plane((1.0, 1.0), (0.0, 0.0)).at_x(1) == plane.left, "one value alone has a place"


def test_bars_are_as_long_as_their_numbers() -> None:
    drawn = bars("what", [Bar("one", [(30, "s0"), (10, "s1")]), Bar("two", [(20, "s0")])], "texts")
    widths = [float(part.split('"')[0]) for part in drawn.split('width="')[1:]]
    assert widths[0] == pytest.approx(3 * widths[1], abs=0.02)
    assert widths[2] == pytest.approx(2 * widths[1], abs=0.02)
    assert 'role="img" aria-label="what"' in drawn


def test_nothing_at_all_is_drawn_as_nothing() -> None:
    assert "<rect" not in bars("what", [], "texts")
    assert drawing("what", 10.0).startswith("<svg")
    assert [series(number) for number in (0, 7, 99)] == ["s0", "s7", "s7"]
