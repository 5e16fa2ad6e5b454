"""The errors that npczarr raises on purpose.

Each message says where, what was expected, what was found and what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_SHOWN = 5  # labels in a message


class NpczarrError(Exception):
    """Base class: catch this to catch every error that npczarr raises on purpose."""


class SourceError(NpczarrError):
    """A file, folder, archive or table that was read is missing, damaged or not what it should be."""


class GeometryError(SourceError):
    """Positions, orientations or affines that do not describe one regular voxel grid."""


class StoreError(NpczarrError):
    """A store that cannot be opened, is damaged, or does not follow the schema."""


class AbsentChunkError(StoreError):
    """A chunk that was written is not there any more, or not yet."""


class MissingStoreError(StoreError, FileNotFoundError):
    """There is no store, or no such group in a store."""


class ReadOnlyError(StoreError):
    """A store that this process may read but not write."""


class UnreachableError(StoreError):
    """A server that did not answer, though it was asked for a minute.

    Parameters
    ----------
    message
        What was asked of it.
    place
        The store, as messages name it.
    """

    def __init__(self, message: str, place: str) -> None:
        super().__init__(message)
        self.place = place

    def __reduce__(self) -> tuple[type[UnreachableError], tuple[str, str]]:
        return type(self), (str(self), self.place)


class LeaseError(StoreError):
    """Another process is writing to the store."""


class ClusterError(NpczarrError):
    """The Dask cluster that was to do the work went away."""


class ParameterError(NpczarrError, ValueError):
    """An argument that cannot be used as given."""


class UnknownLabelError(ParameterError, KeyError):
    """A patient, sequence or other label that is not there."""

    # a KeyError shows its message in quotes, like a key
    __str__ = Exception.__str__


def check_lists(**given: object) -> None:
    """Refuse a single text where a list is expected, which would be read letter by letter.

    Parameters
    ----------
    given
        Arguments by name.

    Raises
    ------
    ParameterError
        If one is a text.
    """
    for name, value in given.items():
        if isinstance(value, str):
            raise ParameterError(f"{name}: expected a list, got {value!r}; write [{value!r}]")


def unknown_label(dim: str, label: object, known: Iterable[object], *, where: str = "the store") -> UnknownLabelError:
    """Return the error for a label that is not there; it names the nearest one that is.

    Parameters
    ----------
    dim
        What is labeled, such as ``"patient"``.
    label
        As it was given; a number is compared with labels such as ``"002"``.
    known
        Labels that are there.
    where
        What holds them.
    """
    labels = [str(one) for one in known]
    near = nearest_label(label, labels)
    hint = "" if near is None else f"; did you mean {near!r}?"
    shown = ", ".join(labels[:_SHOWN]) + (" …" if len(labels) > _SHOWN else "")
    return UnknownLabelError(f"no {dim} {label!r} in {where}, which has {shown or 'none'}{hint}")


def nearest_label(label: object, known: Iterable[str]) -> str | None:
    """Return the label that was meant; None where none is near.

    >>> nearest_label(2, ["001", "002"]), nearest_label("ce-t1wi", ["T1WI", "CE-T1WI"]), nearest_label("x", ["001"])
    ('002', 'CE-T1WI', None)
    """
    plain: dict[str, str] = {}
    for one in known:
        plain.setdefault(_plain(one), one)
    found = difflib.get_close_matches(_plain(label), list(plain), n=1)
    return plain[found[0]] if found else None


def _plain(label: object) -> str:
    """Write a label without leading zeros, and in lower case."""
    text = str(label).strip().lower()
    return text.lstrip("0") or text
