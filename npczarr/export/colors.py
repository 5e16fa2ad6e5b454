"""The color of each label, in every format that shows one."""

from __future__ import annotations

Color = tuple[int, int, int]
#: Orange first, as for a single tumor; then colors that color-blind people tell apart (Okabe and Ito 2008).
_COLORS: tuple[Color, ...] = (
    (255, 140, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (204, 121, 167),
    (0, 114, 178),
    (213, 94, 0),
)


def color_of(number: int) -> Color:
    """Red, green and blue of a label, by its number from 1; they repeat after seven."""
    return _COLORS[(number - 1) % len(_COLORS)]
