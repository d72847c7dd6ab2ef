"""Image expansion: what is sent, what comes back, the area, and the calculation of the ratios."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kling_async import v1
from kling_async.errors import RequestInvalid
from kling_async.wire.checks import check
from tests.golden import golden
from tests.v1.judging import doubted, lives, refused, result, sent

GOLDEN = golden("image_expand")
DOG = "https://example.com/dog.png"


def expand(up: float, down: float, left: float, right: float, **values: Any) -> v1.ImageExpand:
    ratios = {"up": up, "down": down, "left": left, "right": right}
    named: dict[str, Any] = {f"{side}_expansion_ratio": ratio for side, ratio in ratios.items()}
    values.setdefault("image", DOG)
    return v1.ImageExpand(**named, **values)


REQUESTS = {
    "vendor's example": expand(0.1, 0.1, 0.5, 0.5, n=1),
    "vendor's sample of three times the area": v1.ImageExpand(
        image=DOG, **v1.expansion(800, 800, area=3, aspect=16 / 9)
    ),
    "everything": expand(
        0, 2, 0, 0, image=b"fox bytes", prompt="A lake", n=9, watermark_info=v1.WatermarkInfo(enabled=True)
    ),
}


@pytest.mark.parametrize("case", GOLDEN["requests"])
def test_a_request_is_sent_as_the_vendor_writes_it(case: str) -> None:
    """The whole body, compared as JSON; our calculation gives the values of the vendor's sample."""
    assert sent(REQUESTS[case]) == GOLDEN["requests"][case]


def test_a_task_s_life_is_read() -> None:
    """Images as of any other endpoint."""
    lives(v1.ImageExpand, GOLDEN["answers"])
    assert len(result(v1.ImageExpand, GOLDEN["answers"]["finished"]).files()) == 1


TOO_LARGE = "times the area; at most 3, see v1.expansion()"


@pytest.mark.parametrize(
    ("ratios", "problems"),
    [
        ((1, 1, 0.01, 0), [("right_expansion_ratio", f"the new image has 3.03 {TOO_LARGE}")]),
        ((0.5, 0.5, 0.5, 0.5), [("right_expansion_ratio", f"the new image has 4 {TOO_LARGE}")]),
        (
            (0, 2.1, 0, 0),
            [
                ("down_expansion_ratio", "2.1 is too large; at most 2"),
                ("right_expansion_ratio", f"the new image has 3.1 {TOO_LARGE}"),
            ],
        ),
        ((0, 0, -0.1, 0), [("left_expansion_ratio", "-0.1 is too small; at least 0")]),
    ],
)  # fmt: skip
def test_too_much_is_refused(ratios: tuple[float, ...], problems: list[tuple[str, str]]) -> None:
    """More than three times the area together, more than two of a side, less than nothing."""
    assert refused(expand(*ratios)) == problems


@pytest.mark.parametrize("ratios", [(1, 1, 0, 0), (0.3661, 0.3661, 0.36602, 0.3661), (0, 0, 0, 0)])
def test_three_times_the_area_passes(ratios: tuple[float, ...]) -> None:
    """Just so, or over it by what rounding to four decimals does."""
    assert doubted(expand(*ratios)) == []


# --- the calculation ---------------------------------------------------------------------------


def ratios(values: v1.Expansion) -> tuple[float, ...]:
    """Up, down, left, right."""
    return tuple(values.values())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"width": 1000, "height": 1000, "area": 3, "aspect": 16 / 9}, (0.1495, 0.1495, 0.6547, 0.6547)),
        ({"width": 640, "height": 480, "area": 1}, (0, 0, 0, 0)),
        ({"width": 640, "height": 480, "area": 2.25}, (0.25, 0.25, 0.25, 0.25)),
        ({"width": 900, "height": 1600, "area": 2, "aspect": 9 / 8}, (0, 0, 0.5, 0.5)),
        ({"width": 100, "height": 300, "area": 3, "aspect": 1}, (0, 0, 1, 1)),
    ],
)  # fmt: skip
def test_the_ratios_bring_an_image_to_an_area_and_a_shape(
    arguments: Any, expected: tuple[float, ...]
) -> None:
    """Known cases: the vendor's sample, nothing to do, all sides alike, one direction, the most there is."""
    assert ratios(v1.expansion(**arguments)) == expected


@given(
    width=st.integers(300, 8000),
    height=st.integers(300, 8000),
    area=st.floats(1, 3),
    stretch=st.floats(-1, 1),
)
def test_what_is_worked_out_is_what_was_wanted(width: int, height: int, area: float, stretch: float) -> None:
    """Area and shape come out within what four decimals allow, never above, and the request passes.

    A shape needs at least the area by which it is wider or higher: drawn are shapes from the one extreme,
    all of the area above and below (-1), to the other, all of it left and right (1).
    """
    aspect = width / height * area**stretch
    found = v1.expansion(width, height, area=area, aspect=aspect)
    up, down, left, right = ratios(found)
    higher, wider = 1 + up + down, 1 + left + right
    assert area - 0.002 < higher * wider <= area + 1e-6
    assert math.isclose(wider * width / (higher * height), aspect, rel_tol=5e-4)
    check(v1.ImageExpand(image=DOG, **found))


ABOVE_0 = "aspect: sides and shape must be numbers above 0"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"width": 100, "height": 100, "area": 3.1}, "area: 3.1 is not from 1 to 3"),
        ({"width": 100, "height": 100, "area": 0.9}, "area: 0.9 is not from 1 to 3"),
        ({"width": 100, "height": 100, "area": math.nan}, "area: nan is not from 1 to 3"),
        ({"width": 100, "height": 100, "area": 1.5, "aspect": 2}, "area: that shape needs at least 2"),
        ({"width": 100, "height": 100, "area": 3, "aspect": 0.25}, "area: that shape needs at least 4"),
        ({"width": 0, "height": 100, "area": 2}, ABOVE_0),
        ({"width": 9, "height": 9, "area": 2, "aspect": -1}, ABOVE_0),
    ],
)  # fmt: skip
def test_what_no_image_grows_to_is_refused(arguments: Any, text: str) -> None:
    """An area out of bounds, or a shape that would cut something off; the least area is told."""
    with pytest.raises(RequestInvalid) as caught:
        v1.expansion(**arguments)
    assert str(caught.value) == f"expansion: {text}"
