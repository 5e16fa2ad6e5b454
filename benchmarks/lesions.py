"""Lesions of two masks, matched one by one: npczarr against panoptica.

Run ``python benchmarks/lesions.py`` in an environment that has panoptica (``pip install panoptica``; it holds NumPy
back, so it is in no extra). Both take turns on the same pairs of masks, whole volumes in, counts, detection F1 and mean
Dice out; first both must give the same numbers.
"""

import statistics

import numpy as np
from panoptica import (
    ConnectedComponentsInstanceApproximator,
    InputType,
    Metric,
    NaiveThresholdMatching,
    Panoptica_Evaluator,
)
from turns import in_turns, ratios, tell

from npczarr.kernels.lesions import match_lesions

SHAPE = (30, 256, 256)
AIM = 0.1  # of panoptica's time


def lesions(rng, count):
    """Ellipsoids of 3 to 14 voxels across, anywhere."""
    mask = np.zeros(SHAPE, np.uint8)
    grid = np.ogrid[tuple(slice(0, n) for n in SHAPE)]
    for _ in range(count):
        center = [rng.integers(3, n - 3) for n in SHAPE]
        radii = rng.uniform((1, 3, 3), (3, 14, 14))
        mask |= (sum(((g - c) / r) ** 2 for g, c, r in zip(grid, center, radii, strict=True)) < 1).astype(np.uint8)
    return mask


def pair(seed):
    """Make a mask, and another that moved, lacks some of its lesions and has others."""
    rng = np.random.default_rng(seed)
    a = lesions(rng, seed % 10)
    moved = np.roll(a, rng.integers(-2, 3, 2), axis=(1, 2))
    moved[:, : rng.integers(0, SHAPE[1] // 2)] = 0
    return a, moved | lesions(rng, seed % 3)


def ours(a, b):
    found = match_lesions(a, b)
    return found.true_positives, found.false_positives, found.false_negatives, found.f1, found.dice


def evaluator():
    return Panoptica_Evaluator(
        expected_input=InputType.SEMANTIC,
        instance_approximator=ConnectedComponentsInstanceApproximator(),
        instance_matcher=NaiveThresholdMatching(),
        instance_metrics=[Metric.DSC, Metric.IOU],
        global_metrics=[],
        log_times=False,
        verbose=False,
    )


def main():
    judge = evaluator()

    def theirs(a, b):
        found = judge.evaluate(b, a, verbose=False)["ungrouped"]
        return found.tp, found.fp, found.fn, found.rq, found.sq_dsc

    found = []
    for seed in range(12):
        a, b = pair(seed)
        np.testing.assert_allclose(ours(a, b), theirs(a, b), rtol=1e-12)
        sides = in_turns({"panoptica": lambda: theirs(a, b), "npczarr": lambda: ours(a, b)}, 7)  # noqa: B023
        found.append(ratios(sides, "npczarr", "panoptica")[0])
    print(f"{len(found)} pairs of {SHAPE}, up to 11 lesions, equal numbers; the last pair:")
    tell(sides, "panoptica", {"npczarr": AIM})
    print(f"panoptica takes {1 / statistics.median(found):.1f} times as long (median over the pairs)")


if __name__ == "__main__":
    main()
