"""Sort surface elements by distance.

Thousands of elements lie at hundreds of different distances, for cells are whole numbers of voxels apart. To count the
elements at each distance takes a tenth of the time of comparing them.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Numbers = NDArray[np.int16]
#: Where more distances differ, they no longer stay in the processor's cache, and elements are compared.
_MOST_DISTANCES = 4096
_SLOTS = 16384  # of the table in which a distance is looked up
_SHIFT = 64 - 14  # leaves a place in that table
_SPREAD = 0x9E3779B97F4A7C15  # 2^64 over the golden ratio (Knuth, The Art of Computer Programming 3, section 6.4)


def by_distance(distance: Floats, area: Floats) -> tuple[Floats, Floats, Floats]:
    """Return distances in rising order, areas in that order, and the running sum of these.

    Parameters
    ----------
    distance, area
        (n,) each; distances are 0 or above. Elements at one distance stay in their order.
    """
    numbers, different = _number(distance)
    if len(numbers) == len(distance):
        return _counted(distance, area, numbers, np.argsort(different))
    order = np.argsort(distance, kind="stable")
    return distance[order], area[order], np.cumsum(area[order])


@numba.njit(nogil=True, cache=True)
def _number(values: Floats) -> tuple[Numbers, Floats]:
    """Give every different value a number; return the number of each element, and the values by number.

    Where more than `_MOST_DISTANCES` differ, both are empty.
    """
    bits = values.view(np.uint64)
    keys, held = np.empty(_SLOTS, np.uint64), np.full(_SLOTS, -1, np.int16)
    numbers, different = np.empty(values.size, np.int16), np.empty(_MOST_DISTANCES)
    count = 0
    for i in range(values.size):
        slot = np.int64((bits[i] * np.uint64(_SPREAD)) >> np.uint64(_SHIFT))
        while held[slot] >= 0 and keys[slot] != bits[i]:
            slot = (slot + 1) % _SLOTS
        if held[slot] < 0:
            if count == _MOST_DISTANCES:
                return numbers[:0], different[:0]
            keys[slot], held[slot], different[count] = bits[i], count, values[i]
            count += 1
        numbers[i] = held[slot]
    return numbers, different[:count]


@numba.njit(nogil=True, cache=True)
def _counted(
    distance: Floats, area: Floats, numbers: Numbers, rising: NDArray[np.int64]
) -> tuple[Floats, Floats, Floats]:
    """Sort by counting how many elements have each number; ``rising`` holds the numbers in order of their distances."""
    place = np.zeros(rising.size, np.int64)
    for number in numbers:
        place[number] += 1
    taken = 0
    for number in rising:
        place[number], taken = taken, taken + place[number]
    distances, areas, within = np.empty(distance.size), np.empty(distance.size), np.empty(distance.size)
    for i in range(distance.size):
        at = place[numbers[i]]
        place[numbers[i]] += 1
        distances[at], areas[at] = distance[i], area[i]
    total = 0.0
    for i in range(distance.size):
        total += areas[i]
        within[i] = total
    return distances, areas, within
