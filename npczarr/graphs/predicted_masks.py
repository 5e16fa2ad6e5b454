"""Predicted masks laid on a cohort, and what was found in reading them."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import dask.array as da
import numpy as np
import xarray as xr

from npczarr.model.messages import group_messages
from npczarr.model.results import MESSAGE
from npczarr.model.schema import SCAN

_LISTED = 5


@dataclass(frozen=True, slots=True, eq=False)
class PredictedMasks:
    """Predicted masks on the arrays of a cohort, lazy.

    Parameters
    ----------
    mask
        Numbers of labels on the dimensions of the cohort's masks.
    there
        Where there are any, on those before z, y, x.
    messages
        What must be known of each before it is trusted, "" where there is nothing, on the same; made from the tasks
        that read the masks.
    digest
        Text that names the contents of their files.
    """

    mask: xr.DataArray
    there: xr.DataArray
    messages: xr.DataArray
    digest: str


def no_messages(there: xr.DataArray) -> xr.DataArray:
    """Messages where there is nothing to say, on the same dimensions."""
    return xr.DataArray(da.from_array(np.full(there.shape, "", dtype=object), chunks=-1), dims=there.dims)


def messages_of(result: xr.Dataset) -> dict[tuple[str, str], str]:
    """Return the messages of a score on (patient, sequence), by scan; those that are empty are left out."""
    table = result[MESSAGE.name].transpose(*SCAN)
    patients, sequences = (table[dim].values for dim in SCAN)
    return {
        (str(patients[p]), str(sequences[s])): str(text)
        for p, line in enumerate(table.values)
        for s, text in enumerate(line)
        if text
    }


def warn_of_messages(messages: dict[tuple[str, str], str], *, stacklevel: int) -> None:
    """Warn once of what was found in reading predictions; what is alike is counted.

    Warns
    -----
    UserWarning
        If there are any messages.
    """
    if not messages:
        return
    lines = group_messages(messages, "prediction", most=_LISTED)
    warnings.warn("; ".join(lines), UserWarning, stacklevel=stacklevel + 1)
