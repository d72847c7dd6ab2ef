"""Scenes of films: a sky, hills, and things that move over them and come back to where they were."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from kling_async.emulator.footage.canvas import Canvas, Colour, Palette, blend, hsv
from kling_async.emulator.footage.captions import Caption, caption_rows
from kling_async.emulator.footage.h264 import Planes, encode_slices

__all__ = ["FRAMES", "PALETTES", "SCENES", "SCENE_BY_WORD", "caption_slices", "scene_for", "scene_slices"]

FRAMES: Final = 30
"""Pictures until a scene is again as at its beginning."""

_SKY: Final = 48
"""Shades from the top (index 0) to the horizon; other colours follow them in the palette."""
_FAR, _NEAR, _SUN, _LIGHT, _WARM, _DARK, _DEEP, _PAPER, _DIM = range(_SKY, _SKY + 9)

Mover = Callable[[Canvas, float], None]
"""Draws the moving things of a scene, at a phase from 0 to 1."""

_HUES: Final = (
    (0.66, 0.94, 0.09, 0.38),  # dusk
    (0.60, 0.09, 0.02, 0.60),  # dawn
    (0.56, 0.47, 0.05, 0.55),  # lagoon
    (0.42, 0.20, 0.11, 0.35),  # forest
    (0.75, 0.88, 0.14, 0.42),  # violet
    (0.01, 0.11, 0.55, 0.45),  # embers
    (0.50, 0.33, 0.96, 0.50),  # mint
    (0.91, 0.06, 0.52, 0.58),  # rose
    (0.09, 0.13, 0.58, 0.55),  # sand
    (0.63, 0.59, 0.13, 0.18),  # night
    (0.82, 0.02, 0.13, 0.34),  # plum
    (0.57, 0.12, 0.07, 0.40),  # harbour
)
"""Hues of the upper sky, of the horizon and of bright things, and how light the upper sky is."""
PALETTES: Final = len(_HUES)


def _palette(number: int) -> tuple[Colour, ...]:
    """Return the colours of a palette: a sky that pales to another hue, dark hills, bright things."""
    upper, lower, accent, light = _HUES[number]
    high, low = hsv(upper, 0.68, light), hsv(lower, 0.4, 0.93)
    near = hsv(upper + 0.03, 0.6, 0.15)
    return (
        *(blend(high, low, step / (_SKY - 1)) for step in range(_SKY)),
        blend(low, near, 0.5),
        near,
        blend(low, (1.0, 1.0, 0.88), 0.8),
        (0.97, 0.97, 0.94),
        hsv(accent, 0.72, 0.96),
        blend(hsv(upper, 0.6, 0.5), low, 0.2),
        hsv(upper + 0.02, 0.65, 0.32),
        blend(near, (0.0, 0.0, 0.0), 0.45),
        blend(low, near, 0.45),
    )


def _backdrop(rng: random.Random, width: int, height: int, *, hills: bool, sun: bool) -> Canvas:
    """Draw what does not move."""
    canvas = Canvas([bytes([min(_SKY - 1, y * _SKY // height)]) * width for y in range(height)])
    if sun:
        radius = min(width, height) * rng.uniform(0.1, 0.16)
        canvas.disc(width * rng.uniform(0.2, 0.8), height * rng.uniform(0.25, 0.42), radius, _SUN)
    for index, base in ((_FAR, 0.7), (_NEAR, 0.86)) if hills else ():
        swing, first, turns = height * rng.uniform(0.05, 0.1), rng.uniform(0, math.tau), rng.uniform(0.7, 1.8)
        for x in range(width):
            top = height * base + swing * math.sin(math.tau * turns * x / width + first)
            canvas.bar(x, top, x + 1, height, index)
    return canvas


def _falling(rng: random.Random, width: int, height: int) -> Mover:
    """Flakes that fall, each once or twice through the picture."""
    flakes = [
        (rng.random() * width, rng.random(), rng.choice((1, 1, 2)), rng.choice((0.8, 1.2, 1.7)))
        for _ in range(18)
    ]

    def draw(canvas: Canvas, phase: float) -> None:
        for x, start, speed, radius in flakes:
            fallen = (start + speed * phase) % 1
            canvas.disc(x + 2 * math.sin(math.tau * fallen), fallen * (height + 6) - 3, radius, _LIGHT)

    return draw


def _rising(rng: random.Random, width: int, height: int) -> Mover:
    """Lanterns that rise and sway."""
    size = min(width, height)
    lanterns = [(rng.random() * width, rng.random(), size * rng.uniform(0.03, 0.075)) for _ in range(6)]

    def draw(canvas: Canvas, phase: float) -> None:
        for x, start, radius in lanterns:
            risen = (start + phase) % 1
            sway = 3 * math.sin(math.tau * (risen * 2 + start))
            y = height * (1.15 - 1.3 * risen)
            canvas.disc(x + sway, y, radius, _WARM)
            canvas.disc(x + sway, y + radius * 0.3, radius * 0.5, _SUN)

    return draw


def _sailing(rng: random.Random, width: int, height: int) -> Mover:
    """A boat on two rows of waves."""
    place, size, first = rng.uniform(0.3, 0.7) * width, min(width, height), rng.random()

    def draw(canvas: Canvas, phase: float) -> None:
        bob = size * 0.03 * math.sin(math.tau * (phase + first))
        water = height * 0.72
        canvas.triangle(place, water - size * 0.42 + bob, water - size * 0.08 + bob, size * 0.16, _LIGHT)
        canvas.triangle(place, water + size * 0.1 + bob, water - size * 0.07 + bob, size * 0.24, _WARM)
        for index, depth, turns, way in ((_DARK, 0.0, 2, 1), (_DEEP, 0.12, 3, -1)):
            level, swing = water + height * depth, size * 0.025
            canvas.bar(0, level + swing, width, height, index)
            for x in range(0, width, 2):
                wave = math.sin(math.tau * (turns * x / width + way * phase + first))
                canvas.bar(x, level + swing * wave, x + 2, level + swing, index)

    return draw


def _orbiting(rng: random.Random, width: int, height: int) -> Mover:
    """Planets that go round a sun."""
    size = min(width, height)
    planets = [
        (size * (0.16 + 0.1 * place), rng.random(), rng.choice((1, 1, -1)), size * rng.uniform(0.02, 0.055))
        for place in range(4)
    ]
    stretch = 1.5 if width > height else 1.0

    def draw(canvas: Canvas, phase: float) -> None:
        x, y = width / 2, height * 0.46
        canvas.disc(x, y, size * 0.11, _SUN)
        for number, (distance, start, way, radius) in enumerate(planets):
            angle = math.tau * (start + way * phase)
            index = (_WARM, _LIGHT, _DARK)[number % 3]
            canvas.disc(
                x + distance * stretch * math.cos(angle), y + distance * math.sin(angle), radius, index
            )

    return draw


def _spreading(rng: random.Random, width: int, height: int) -> Mover:
    """Rings that spread from a point, as rain makes them on water."""
    size = min(width, height)
    drops = [
        (rng.uniform(0.15, 0.85) * width, rng.uniform(0.2, 0.8) * height, rng.random()) for _ in range(3)
    ]

    def draw(canvas: Canvas, phase: float) -> None:
        for x, y, start in drops:
            age = (start + phase) % 1
            canvas.ring(x, y, size * 0.24 * age, 1 + 2 * (1 - age), _LIGHT)
            canvas.disc(x, y, size * 0.05 * (1 - age), _WARM)

    return draw


def _swinging(rng: random.Random, width: int, height: int) -> Mover:
    """Pendulums of three lengths."""
    size, first = min(width, height), rng.random()

    def draw(canvas: Canvas, phase: float) -> None:
        for number, share in enumerate((0.35, 0.55, 0.75)):
            angle = 0.6 * math.sin(math.tau * (phase + first + number / 6))
            top, length = width * (0.25 + 0.25 * number), height * share
            x, y = top + length * math.sin(angle), length * math.cos(angle)
            for step in range(round(length)):
                left, down = top + step * math.sin(angle), step * math.cos(angle)
                canvas.bar(left, down, left + 1, down + 1, _DEEP)
            canvas.disc(x, y, size * (0.07 + 0.02 * number), (_WARM, _LIGHT, _SUN)[number])

    return draw


def _bouncing(rng: random.Random, width: int, height: int) -> Mover:
    """Balls that bounce above their shadows."""
    size = min(width, height)
    balls = [
        (0.2 + 0.3 * place, rng.random(), rng.choice((1, 2)), rng.uniform(0.06, 0.1)) for place in range(3)
    ]

    def draw(canvas: Canvas, phase: float) -> None:
        floor = height * 0.84
        canvas.bar(0, floor, width, height, _DEEP)
        for number, (x, start, times, radius) in enumerate(balls):
            up = abs(math.sin(math.pi * (start + times * phase)))
            half = size * radius * (1.3 - 0.7 * up)
            canvas.bar(x * width - half, floor + 3, x * width + half, floor + 5, _NEAR)
            canvas.disc(
                x * width, floor - size * (radius + 0.5 * up), size * radius, (_WARM, _LIGHT, _SUN)[number]
            )

    return draw


def _flying(rng: random.Random, width: int, height: int) -> Mover:
    """Birds that cross the sky and beat their wings."""
    birds = [(rng.random(), rng.uniform(0.12, 0.6), rng.uniform(0.05, 0.09)) for _ in range(6)]
    way, size = rng.choice((-1, 1)), min(width, height)

    def draw(canvas: Canvas, phase: float) -> None:
        for start, high, share in birds:
            x = ((start + way * phase) % 1 * 1.2 - 0.1) * width
            y, span = height * high, size * share
            beat = math.sin(math.tau * (4 * phase + start * 3))
            for step in range(round(span) + 1):
                lift = beat * step * 0.6
                for side in (-step, step):
                    canvas.bar(x + side, y - lift, x + side + 1, y - lift + 2, _LIGHT)

    return draw


def _growing(rng: random.Random, width: int, height: int) -> Mover:
    """Towers of several heights that grow and shrink, with lit tops."""
    count = max(5, width // 14)
    towers = [(rng.random(), rng.uniform(0.2, 0.5), rng.choice((1, 1, 2))) for _ in range(count)]

    def draw(canvas: Canvas, phase: float) -> None:
        step = width / count
        for number, (start, share, times) in enumerate(towers):
            top = height * (1 - share * (1 + 0.45 * math.sin(math.tau * (start + times * phase))))
            left = number * step + 1
            canvas.bar(left, top, left + step - 2, height, (_DARK, _DEEP)[number % 2])
            canvas.bar(left, top, left + step - 2, top + 2, _WARM)

    return draw


SCENES: Final[dict[str, tuple[Callable[[random.Random, int, int], Mover], bool, bool]]] = {
    "falling": (_falling, True, False),
    "rising": (_rising, True, False),
    "sailing": (_sailing, False, True),
    "orbiting": (_orbiting, False, False),
    "spreading": (_spreading, False, False),
    "swinging": (_swinging, False, False),
    "bouncing": (_bouncing, False, True),
    "flying": (_flying, True, True),
    "growing": (_growing, False, True),
}  # fmt: skip
"""How the things of a scene move, and whether there are hills and a sun behind them."""


_WORDS: Final = {
    "falling": "snow snows frost rain rains petals petal leaves leaf dust falls fall shavings ash confetti",
    "rising": "lantern lanterns balloon balloons jellyfish bubbles steam smoke rise rises floats fireflies",
    "sailing": "boat ship sea ocean harbour harbor river lake wave waves sail sails island whale surf",
    "orbiting": "planet planets moon star stars galaxy space orbit clockwork spins turns spiral",
    "spreading": "drop drops pond ripple ripples puddle spreads ink echo opens",
    "swinging": "pendulum clock swing swings dancer dances dance bell violin pulls",
    "bouncing": "ball marble bounces jumps fox dog cat hops trots runs",
    "flying": "bird birds kite gull gulls flies fly crow wings plane field meadow dove",
    "growing": "city street tram tower towers market night grows grow skyline climbs music",
}
"""Words of prompts that choose a scene."""
SCENE_BY_WORD: Final = {word: scene for scene, words in _WORDS.items() for word in words.split()}


def scene_for(text: str, rng: random.Random) -> str:
    """Return the scene that the first telling word of a text chooses; without one, any scene."""
    other = rng.choice(tuple(SCENES))
    words = re.findall(r"[a-z]+", text.lower())
    return next((SCENE_BY_WORD[word] for word in words if word in SCENE_BY_WORD), other)


@lru_cache(maxsize=128)
def scene_slices(scene: str, palette: int, across: int, down: int) -> tuple[bytes, ...]:
    """Return the slices of a scene's `FRAMES` pictures, the first of which needs no other.

    Args:
        scene: One of `SCENES`.
        palette: Number of its colours and of its arrangement, below `PALETTES`.
        across: Width in macroblocks.
        down: Height in macroblocks.
    """
    rng = random.Random(f"{scene} {palette}")  # noqa: S311 - a picture, not a secret
    width, height = 4 * across, 4 * down
    make, hills, sun = SCENES[scene]
    backdrop = _backdrop(rng, width, height, hills=hills, sun=sun)
    draw, colours = make(rng, width, height), Palette(_palette(palette))
    frames = list[Planes]()
    for number in range(FRAMES):
        canvas = Canvas(backdrop.rows)
        draw(canvas, number / FRAMES)
        frames.append(colours.planes(canvas.rows))
    return encode_slices(frames, 0)


@lru_cache(maxsize=128)
def caption_slices(caption: Caption, palette: int, across: int, top: int) -> tuple[bytes, ...]:
    """Return the slices of a caption, as many as those of a scene, below ``top`` rows of macroblocks."""
    rows = caption_rows(caption, across, _PAPER, _LIGHT, _DIM)
    return encode_slices([Palette(_palette(palette)).planes(rows)] * FRAMES, top)
