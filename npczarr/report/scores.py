"""Scores of an MR image: signal to noise, and simple signs of artifacts; NumPy and no file.

They compare scans of one protocol with each other; none is a verdict on a scan. ``MEANINGS`` defines each, with its
source.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.filters import threshold_otsu
from skimage.morphology import convex_hull_image, dilation

Floats = NDArray[np.float32]
Flags = NDArray[np.bool_]

_THIN = 160  # pixels a side: enough to separate head from air
_SLICES = 9
_LEAST_SIDE = 8
_LEAST_AIR = 500  # pixels: a standard deviation of fewer is too uncertain
_RAYLEIGH = float(np.sqrt(2 / (4 - np.pi)))  # noise in air of a magnitude image has 0.655 of the standard deviation


#: The definition of each score; a score is NaN where it cannot be computed.
MEANINGS: dict[str, str] = {
    "SNR": (
        "Median of the head divided by the noise; the noise is √(2 / (4 − π)) times the standard deviation of the air, "
        "by the law of Rayleigh (NEMA MS 1, method 4; Henkelman, Med Phys 1985; 12: 232-233). Reconstruction from "
        "several coils changes that law (Dietrich et al., J Magn Reson Imaging 2007; 26: 375-385), so compare scans of "
        "one scanner. NaN where the scanner has blanked the air."
    ),
    "tumor contrast": "Absolute difference of the medians of tumor and head, divided by the same noise.",
    "ghosting": (
        "Percent signal ghosting of the ACR phantom test (MRI Quality Control Manual, 2015), carried over to patients: "
        "absolute difference of the mean air above and below the head and of that beside it, over the head's mean. The "
        "phantom test's limit is 3 %."
    ),
    "uneven": (
        "Largest step of a slice's median against the mean of its two neighbors, in percent of that mean; a slice "
        "spoilt by cross-talk or lost signal stands out. The two slices at either end do not count."
    ),
    "clipped": "Percent of the head's pixels at the scan's largest value: many mean that signal was cut off.",
    "blank slices": "Slices of one value only.",
    "head and air": (
        "Head: pixels brighter than a quarter of the way from the mean of the darker to that of the brighter of Otsu's "
        "classes (Otsu, IEEE Trans Syst Man Cybern 1979; 9: 62-66). Air: pixels outside the convex hull of the head, "
        "widened by a fortieth of the slice. Noise and ghosts are taken from nine slices, evenly spaced."
    ),
}


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores of one scan, as ``MEANINGS`` defines them; NaN where one cannot be computed."""

    snr: float
    tumor_contrast: float
    ghosting: float
    uneven: float
    clipped: float
    blank_slices: float


SCORES: tuple[str, ...] = tuple(field.name for field in fields(Scores))


def score_image(image: NDArray[Any], mask: NDArray[Any] | None = None) -> Scores:
    """Score an image (z, y, x), real values, with its tumor mask if there is one; see ``MEANINGS``."""
    step = max(1, -(-max(image.shape[1:]) // _THIN))
    rows, columns = (n - n % (2 * step) or n for n in image.shape[1:])
    thin = image[:, :rows:step, :columns:step].astype(np.float32)
    blank = float(np.sum(thin.min(axis=(1, 2)) == thin.max(axis=(1, 2))))
    if blank == len(thin) or min(thin.shape[1:]) < _LEAST_SIDE:
        return _unscored(blank)
    bright = thin > _threshold(thin)
    some = np.unique(np.linspace(0, len(thin) - 1, _SLICES + 2).round().astype(int)[1:-1])
    chosen, head = thin[some], bright[some]
    if not head.any() or np.median(chosen[head]) <= 0:
        return _unscored(blank)
    air = ~_widened(_hull(head))
    signal = float(np.median(chosen[head]))
    noise = _noise(chosen[air])
    return Scores(
        snr=signal / noise,
        tumor_contrast=_contrast(image, mask, signal, noise),
        ghosting=_ghosting(chosen, air, float(chosen[head].mean(dtype=np.float64))),
        uneven=_uneven(thin, bright),
        clipped=100 * float(np.mean(thin[bright] == image.max())),
        blank_slices=blank,
    )


def _unscored(blank: float) -> Scores:
    return Scores(np.nan, np.nan, np.nan, np.nan, np.nan, blank)


def _threshold(thin: Floats) -> float:
    """Value between air and tissue; Otsu's threshold itself often separates dark from bright tissue instead."""
    values = np.minimum(thin, np.percentile(thin, 99))  # a few bright vessels must not decide
    bright = values > threshold_otsu(values)
    if bright.all() or not bright.any():  # one gray level but for a few pixels: nothing separates air from tissue
        return float(values.max())
    low, high = float(values[~bright].mean(dtype=np.float64)), float(values[bright].mean(dtype=np.float64))
    return low + (high - low) / 4


def _hull(head: Flags) -> Flags:
    """Convex hull of each slice's tissue, without single pixels of noise: they would widen it to themselves."""
    kept = head.copy()
    for axis in (1, 2):
        for by in (-1, 1):
            kept &= np.roll(head, by, axis)
    # every second pixel: a hull takes a quarter of the time, and is wide enough with its margin
    coarse = kept[:, ::2, ::2] | kept[:, 1::2, ::2] | kept[:, ::2, 1::2] | kept[:, 1::2, 1::2]
    hulls = np.stack([convex_hull_image(one) if one.any() else one for one in coarse])
    whole: Flags = hulls.repeat(2, axis=1).repeat(2, axis=2)
    return whole


def _widened(hull: Flags) -> Flags:
    margin = max(3, hull.shape[2] // 40)
    square = np.ones((1, 2 * margin + 1, 2 * margin + 1), np.uint8)
    found: Flags = dilation(hull.view(np.uint8), square).view(bool)
    return found


def _noise(air: Floats) -> float:
    """Noise of one channel; NaN where there is too little air, or half of it or more is blanked."""
    known = air[air != 0]
    blanked = 2 * known.size <= air.size
    if blanked or known.size < _LEAST_AIR or not known.std():
        return float("nan")
    return _RAYLEIGH * float(known.std(dtype=np.float64))


def _contrast(image: NDArray[Any], mask: NDArray[Any] | None, signal: float, noise: float) -> float:
    if mask is None or not mask.any():
        return float("nan")
    return abs(float(np.median(image[mask > 0])) - signal) / noise


def _ghosting(thin: Floats, air: Flags, signal: float) -> float:
    _, rows, columns = thin.shape
    down, right = np.linspace(-1, 1, rows)[:, None], np.linspace(-1, 1, columns)[None]
    vertical = np.abs(down) > np.abs(right)
    sides = [air & vertical & (down < 0), air & vertical & (down > 0), air & ~vertical & (right < 0)]
    sides.append(air & ~vertical & (right > 0))
    if min(int(side.sum()) for side in sides) < _LEAST_AIR or not np.ptp(thin[air]):
        return float("nan")  # a ghost shows only where there is air on every side
    above_below, beside = (float(thin[one | other].mean(dtype=np.float64)) for one, other in (sides[:2], sides[2:]))
    return 100 * abs(above_below - beside) / signal  # ACR halves the difference of two sums of two strips each


def _uneven(thin: Floats, head: Flags) -> float:
    medians = np.array([np.median(one[of]) if of.any() else np.nan for one, of in zip(thin, head, strict=True)])
    inner, around = medians[2:-2], (medians[1:-3] + medians[3:-1]) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        steps = np.abs(inner - around) / around
    return 100 * float(np.nanmax(steps)) if np.isfinite(steps).any() else float("nan")
