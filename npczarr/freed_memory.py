"""What a Dask worker does with memory that it has freed: the next scan takes as much again."""

from __future__ import annotations

import ctypes
import os
import sys
from functools import lru_cache
from multiprocessing import parent_process

_SETTING, _OF_DASK = "MALLOC_TRIM_THRESHOLD_", "65536"
#: Options of ``mallopt`` by their numbers in ``malloc.h``: from how many bytes on the freed end of the heap is given
#: back to the system, and from how many on an array lies outside the heap, where all of it is given back.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LIMITS = {_M_TRIM_THRESHOLD: 128 * 2**20, _M_MMAP_THRESHOLD: 32 * 2**20}


@lru_cache(maxsize=1)
def keep() -> bool:
    """Let this process keep up to 128 MiB of freed memory, if it has the setting with which Dask starts workers.

    Dask has the C library of Linux give all of it back at once, and the system then clears the same pages for every
    array anew: a third of the time of a conversion, half of that of a measurement. What the user has set in Dask's
    place is left alone, and so is the process that starts the workers.

    Returns
    -------
    bool
        Whether anything was changed.
    """
    is_worker = parent_process() is not None  # Dask leaves its setting in the process that starts workers, too
    if not is_worker or os.environ.get(_SETTING) != _OF_DASK or not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # a C library without such options
        return False
    return all(mallopt(option, limit) for option, limit in _LIMITS.items())
