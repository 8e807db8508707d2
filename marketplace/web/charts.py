"""Bars over time as SVG: whole numbers in the drawing's own units, colours by class, words outside of the drawing.

The drawing is stretched to its frame, so that bars fill a wide and a narrow screen alike; what must keep its shape, the
scale and the days below, is text of the page. The figures stand in a table beside it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

HEIGHT = 1000
BAR = 10
STEPS = 4


@dataclass(frozen=True, slots=True)
class Slot:
    """What is drawn over one stretch of time: parts from the bottom up as (class, size), and the level reserved."""

    title: str
    parts: Sequence[tuple[str, Fraction]]
    reserved: Fraction
    is_missing: bool = False


@dataclass(frozen=True, slots=True)
class Rectangle:
    tone: str
    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Bar:
    """A column of rectangles with one title, which is shown where the pointer rests; `area` is its whole height."""

    title: str
    area: Rectangle
    rectangles: list[Rectangle]


@dataclass(frozen=True, slots=True)
class Chart:
    width: int
    height: int
    bars: list[Bar]
    missing: list[Rectangle]
    reserved: str
    scale: list[str]
    grid: list[int]
    columns: list[str]


def chart(*, slots: Sequence[Slot], columns: Sequence[str], gap: int) -> Chart:
    """Bars for `slots`; `columns` are the words below, over equal widths. `gap`: of the BAR units of a slot, how many stay free."""
    top = scale_top(max([*(sum(size for _, size in slot.parts) for slot in slots), *(s.reserved for s in slots), 0]))
    bars = []
    for number, slot in enumerate(slots):
        level = Fraction(0)
        rectangles = []
        for tone, size in slot.parts:
            low, high = _y(level, top), _y(level + size, top)
            if low > high:
                rectangles.append(Rectangle(tone, number * BAR, high, BAR - gap, low - high))
            level += size
        bars.append(Bar(slot.title, Rectangle("area", number * BAR, 0, BAR, HEIGHT), rectangles))
    return Chart(
        width=len(slots) * BAR,
        height=HEIGHT,
        bars=bars,
        missing=[Rectangle("missing", n * BAR, 0, BAR, HEIGHT) for n, slot in enumerate(slots) if slot.is_missing],
        reserved=_steps([slot.reserved for slot in slots], top),
        scale=[f"{top * step // STEPS:,}" for step in range(STEPS, -1, -1)],
        grid=[HEIGHT * step // STEPS for step in range(STEPS)],
        columns=list(columns),
    )


def scale_top(greatest: int | Fraction) -> int:
    """The least of 4, 8, 12, 16, 20, 24, 32, 40, 80, 120, … that is not below."""
    size = 1
    while True:
        for step in (1, 2, 3, 4, 5, 6, 8):
            if step * size * STEPS >= greatest:
                return step * size * STEPS
        size *= 10


def _y(level: Fraction, top: int) -> int:
    return HEIGHT - level * HEIGHT // top


def _steps(levels: Sequence[Fraction], top: int) -> str:
    """A path along the levels; where nothing is reserved there is no line."""
    path: list[str] = []
    is_drawn = False
    for number, level in enumerate(levels):
        if level:
            path.append(f"{'V' if is_drawn else f'M{number * BAR} '}{_y(level, top)}H{(number + 1) * BAR}")
        is_drawn = bool(level)
    return "".join(path)


def shares(parts: Mapping[str, int], whole: int) -> dict[str, int]:
    """Lengths of bars in thousandths of the whole."""
    return {name: abs(part) * 1000 // whole if whole else 0 for name, part in parts.items()}
