"""Values along z, y and x as people write them: one for all axes, one each, or a mapping by axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

from npczarr.errors import ParameterError
from npczarr.model.geometry import AXES

Value = TypeVar("Value")
#: One value for all axes, three in the order z, y, x, or a mapping by axis.
PerAxis: TypeAlias = Value | Sequence[Value | None] | Mapping[str, Value | None]


def per_axis(name: str, value: Any, *, whole: bool = False) -> Any:  # noqa: ANN401 - the caller checks each value
    """Return a tuple along z, y, x; None if nothing was given.

    Parameters
    ----------
    name
        Name of the argument, for messages.
    value
        A number, three values, an array of three, or a mapping by axis.
    whole
        A mapping must name all three axes; otherwise None stands for those that it leaves out.

    Raises
    ------
    ParameterError
        If it is nothing of this kind. What the values are is for the caller to check.

    >>> per_axis("spacing", 1.0), per_axis("spacing", {"y": 0.5, "x": 0.5}), per_axis("spacing", [3, 1, 1])
    ((1.0, 1.0, 1.0), (None, 0.5, 0.5), (3, 1, 1))
    """
    if hasattr(value, "__array__"):
        value = value.__array__().tolist()
    if value is None:
        return None
    if isinstance(value, Mapping):
        return _of_mapping(name, value, whole=whole)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value, value, value
    if isinstance(value, str) or not hasattr(value, "__iter__"):
        raise ParameterError(
            f"{name}: expected one value, three for z, y and x, or a mapping by axis such as "
            f"{{'z': 5.5, 'y': 0.5, 'x': 0.5}}, got {value!r}"
        )
    return tuple(value)


def _of_mapping(name: str, value: Mapping[Any, Any], *, whole: bool) -> tuple[Any, ...]:
    unknown = [axis for axis in value if axis not in AXES]
    if unknown:
        raise ParameterError(f"{name}: expected the axes z, y and x, got {unknown[0]!r}")
    absent = [axis for axis in AXES if axis not in value]
    if whole and absent:
        raise ParameterError(f"{name}: expected a value along z, y and x, got none along {', '.join(absent)}")
    return tuple(value.get(axis) for axis in AXES)
