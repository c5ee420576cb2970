"""Draws the shares of an input's bins: how it was, and how it is.

Laws of this file:
- Pure, and legible without colour: what was is hatched, what is is filled, and each bar has its number.
"""

from __future__ import annotations

from html import escape

from penstock.stream.operate.reporting.incidents import moment
from penstock.stream.operate.reporting.shares import Shares
from penstock.stream.operate.svg import figure, text

WIDTH, LEFT, RIGHT = 470, 140, 425
ROW, TOP = 30, 30
MOST_CHARACTERS = 20


def shares(name: str, found: Shares) -> str:
    """Two bars for each bin; `name` is unique on the page."""
    most = max([*found.reference, *found.window, 1e-9])
    drawn = [
        f'<defs><pattern id="{name}-was" width="6" height="6" patternUnits="userSpaceOnUse">'
        '<path d="M0 6 L6 0" class="hatch"/></pattern></defs>',
        f'<rect x="{LEFT}" y="6" width="22" height="11" fill="url(#{name}-was)" class="was"/>',
        text(LEFT + 28, 16, "before"),
        f'<rect x="{LEFT + 90}" y="6" width="22" height="11" class="is"/>',
        text(LEFT + 118, 16, "in it"),
    ]
    for place, (label, before, now) in enumerate(zip(found.bins, found.reference, found.window, strict=True)):
        y = TOP + ROW * place
        drawn.append(text(LEFT - 8, y + 17, escape(shortened(label)), anchor="end"))
        for offset, share, looks in (
            (0, before, f'fill="url(#{name}-was)" class="was"'),
            (12, now, 'class="is"'),
        ):
            width = (RIGHT - LEFT) * share / most
            drawn += [
                f'<rect x="{LEFT}" y="{y + offset}" width="{width:.1f}" height="11" {looks}/>',
                text(LEFT + width + 5, y + offset + 10, f"{share:.1%}", more=' class="small"'),
            ]
    said = (
        f"{escape(found.name)} from {moment(found.spans[1][0])} to {moment(found.spans[1][1])}, beside "
        f"{moment(found.spans[0][0])} to {moment(found.spans[0][1])}: "
    ) + ", ".join(
        f"{escape(label)} {now:.1%} instead of {before:.1%}"
        for label, before, now in zip(found.bins, found.reference, found.window, strict=True)
    )
    size = (WIDTH, TOP + ROW * len(found.bins) + 4)
    return figure(name, size, f"Shares of {escape(found.name)}", said, drawn)


def shortened(label: str) -> str:
    """A bin's name, as much of it as there is room for.

    >>> shortened("(-inf, 3]"), shortened("(1.5, inf)"), shortened("(1, 2]"), shortened("null")
    ('up to 3', 'above 1.5', '1 to 2', 'null')
    """
    if label.startswith("(") and ", " in label and label[-1] in "])":
        low, high = (number(end) for end in label[1:-1].split(", ", 1))
        if low == "-inf":
            label = "any number" if high == "inf" else f"up to {high}"
        else:
            label = f"above {low}" if high == "inf" else f"{low} to {high}"
    return label if len(label) <= MOST_CHARACTERS else label[: MOST_CHARACTERS - 1] + "…"


def number(written: str) -> str:
    """A bin's edge with three digits, or as it is where it is no number.

    >>> number("-14.4242"), number("0.0176723"), number("12345.6"), number("-inf"), number("a")
    ('-14.4', '0.0177', '12346', '-inf', 'a')
    """
    try:
        value = float(written)
    except ValueError:
        return written
    return f"{value:.0f}" if 1_000 <= abs(value) < 1e7 else f"{value:.3g}"
