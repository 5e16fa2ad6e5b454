"""Numbers as text: so many decimals, and more where a small number would lose its digits."""

from __future__ import annotations


def fixed(number: float, decimals: int) -> str:
    """Write a number with these decimals, or with the two significant digits that a smaller one needs.

    >>> fixed(12.345, 2), fixed(0.0008, 2), fixed(0.26, 1), fixed(0.0, 2), fixed(float("inf"), 1)
    ('12.35', '0.00080', '0.26', '0.00', 'inf')
    """
    small = 0 < abs(number) < 10.0 ** (1 - decimals)
    return f"{number:#.2g}" if small else f"{number:.{decimals}f}"


def signed(number: float, decimals: int) -> str:
    """Write the same with its sign, the minus as print has it.

    >>> signed(0.25, 1), signed(-12.345, 2), signed(-0.001, 2)
    ('+0.25', '−12.35', '−0.0010')
    """
    return f"{'−' if number < 0 else '+'}{fixed(abs(number), decimals)}"
