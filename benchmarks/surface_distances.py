"""Surface distances of two outlines of one tumor: npczarr against DeepMind's surface-distance package.

Run ``python benchmarks/surface_distances.py``. Both take turns on the same masks, whole volumes in, six metrics out;
first both must give the same numbers to ten digits.
"""

import statistics
import time
import warnings

import numpy as np
import surface_distance as deepmind
from morphology import SPACING, lumpy_tumor

from npczarr.kernels import surface

TOLERANCE_MM = 1.0


def ours(a, b):
    distances = surface.surface_distances(a, b, SPACING)
    return (
        *surface.average_distances(distances),
        surface.hausdorff(distances),
        surface.hausdorff(distances, 95),
        *surface.surface_overlaps(distances, TOLERANCE_MM),
        surface.surface_dice(distances, TOLERANCE_MM),
    )


def theirs(a, b):
    distances = deepmind.compute_surface_distances(a, b, SPACING)
    return (
        *deepmind.compute_average_surface_distance(distances),
        deepmind.compute_robust_hausdorff(distances, 100),
        deepmind.compute_robust_hausdorff(distances, 95),
        *deepmind.compute_surface_overlap_at_tolerance(distances, TOLERANCE_MM),
        deepmind.compute_surface_dice_at_tolerance(distances, TOLERANCE_MM),
    )


def seconds(function, *masks):
    start = time.perf_counter()
    function(*masks)
    return time.perf_counter() - start


def main():
    warnings.filterwarnings("ignore", "Please import", DeprecationWarning)
    a = lumpy_tumor().astype(bool)
    b = np.roll(a, (3, -4), axis=(1, 2))  # as a second rater might see it
    b[np.flatnonzero(b.any(axis=(1, 2)))[-1]] = False
    np.testing.assert_allclose(ours(a, b), theirs(a, b), rtol=1e-10)
    turns = [(seconds(theirs, a, b), seconds(ours, a, b)) for _ in range(40)]
    package, own = (statistics.median(times) * 1e3 for times in zip(*turns, strict=True))
    ratio = statistics.median(p / o for p, o in turns)
    print(f"surface-distance {package:.2f} ms   npczarr {own:.2f} ms   ratio {ratio:.1f}   equal to ten digits")


if __name__ == "__main__":
    main()
