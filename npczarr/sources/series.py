"""Which series of a folder a scan is made of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
from pydicom.dataset import Dataset

from npczarr.errors import GeometryError, SourceError
from npczarr.model.cohort import Where
from npczarr.model.geometry import Grid
from npczarr.model.slices import Stack, shared_positions, stack_slices
from npczarr.sources.acquisition import frame_number
from npczarr.sources.copies import drop_copies
from npczarr.sources.differences import advise_series, describe_frames, describe_series, list_series, shorten
from npczarr.sources.fields import raw_text
from npczarr.sources.frames import Frame, count_frames, frames_of
from npczarr.sources.headers import Folder
from npczarr.sources.mask_fit import may_be_meant
from npczarr.sources.where import unmet


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """Images of one SeriesInstanceUID, with the frames of each that may be meant."""

    uid: str
    images: tuple[tuple[Dataset, tuple[int, ...]], ...]

    def count(self) -> int:
        """Return how many frames it has."""
        return sum(len(indices) for _, indices in self.images)


@dataclass(frozen=True, slots=True, eq=False)
class Chosen:
    """The series that was meant: its frames, how they stack, and what was passed over."""

    uid: str
    frames: list[Frame]
    stack: Stack
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def choose_series(
    folder: Folder,
    *,
    where: Where = (),
    held: Callable[[str], bool] | None = None,
    named: Callable[[], Collection[str]] = tuple,
    mask_grids: Callable[[], Sequence[Grid]] = list,
) -> Chosen:
    """Take the one series, or of several the one that something names: a rule, the store, outlines, the mask's grid.

    Parameters
    ----------
    folder
        Images by series, at least one.
    where
        Rule of the configuration.
    held
        Whether the store holds a series of this SeriesInstanceUID.
    named
        Returns the SeriesInstanceUIDs that the scan's outlines name; asked for where the store decides nothing.
    mask_grids
        Returns the grids of the scan's masks; asked for only where nothing else decides.

    Raises
    ------
    SourceError
        If nothing tells which is meant, or the one that is meant cannot be used, or one that may be.
    """
    every = [Series(uid, tuple((d, _indices(d)) for d in datasets)) for uid, datasets in folder.series.items()]
    series, warnings = _apply_rule(every, where)
    series, notes = _without_localizers(series)
    if len(series) > 1:
        series, warning = _choose(series, held, named, mask_grids)
        warnings.append(warning)
    frames, stack, copies = usable(series[0])
    if copies:
        notes.append(f"passed over: exact copy ({copies} file{'s'[: copies > 1]})")
    return Chosen(series[0].uid, frames, stack, tuple(notes), tuple(warnings))


def usable(series: Series) -> tuple[list[Frame], Stack, int]:
    """Frames of a series, how they stack, and the number of copies left out.

    Raises
    ------
    SourceError, GeometryError
        If they make no volume.
    """
    images, copies = drop_copies(series.images)
    frames = [frame for dataset, indices in images for frame in frames_of(dataset, indices)]
    return frames, _stack(frames), copies


def _indices(dataset: Dataset) -> tuple[int, ...]:
    if "PerFrameFunctionalGroupsSequence" not in dataset:
        return (0,)
    return tuple(range(min(count_frames(dataset), len(dataset.PerFrameFunctionalGroupsSequence))))


def _apply_rule(every: Sequence[Series], where: Where) -> tuple[list[Series], list[str]]:
    """Keep the frames that meet the rule; say what does not."""
    if not where:
        return list(every), []
    left: Counter[str] = Counter()
    kept = []
    for series in every:
        images = []
        for dataset, indices in series.images:
            reasons = {index: unmet(where, dataset, index) for index in indices}
            left.update(reason for reason in reasons.values() if reason)
            if meets := tuple(index for index, reason in reasons.items() if reason is None):
                images.append((dataset, meets))
        if images:
            kept.append(replace(series, images=tuple(images)))
    total = sum(series.count() for series in every)
    by_keyword = ", ".join(f"{keyword} {count}" for keyword, count in left.items())
    if not kept:
        raise SourceError(
            f"none of the {total} images in the folder meets the rule `where` of this sequence; not met, by keyword: "
            f"{by_keyword}. The series are: {list_series([s.images for s in every], [''] * len(every))}"
        )
    passed = sum(left.values())
    if not passed:
        return kept, []
    series_left = len(every) - len(kept)
    others = f", {series_left} series whole" if series_left else ""
    return kept, [
        f"passed over {passed} of {total} images in the folder{others}: they do not meet the rule `where` of this "
        f"sequence ({by_keyword})"
    ]


def _without_localizers(series: Sequence[Series]) -> tuple[list[Series], list[str]]:
    scouts = [
        s for s in series if all("LOCALIZER" in raw_text(dataset, "ImageType").upper() for dataset, _ in s.images)
    ]
    if not scouts or len(scouts) == len(series):
        return list(series), []
    files = sum(len(s.images) for s in scouts)
    return [s for s in series if s not in scouts], [f"passed over: localizer ({files} file{'s'[: files > 1]})"]


def _choose(
    series: Sequence[Series],
    held: Callable[[str], bool] | None,
    named: Callable[[], Collection[str]],
    mask_grids: Callable[[], Sequence[Grid]],
) -> tuple[list[Series], str]:
    """Choose among several series: that of the store, else of the outlines, else on the grid of the mask."""
    faults = [_fault(s) for s in series]
    images = [s.images for s in series]
    meant = [i for i, s in enumerate(series) if held is not None and s.uid and held(s.uid)]
    reason = "the one that the store holds"
    if len(meant) != 1:
        uids = named()
        meant = [i for i, s in enumerate(series) if s.uid in uids]
        reason = "the one that the outlines name"
    if len(meant) != 1:
        grids = mask_grids()
        meant = [i for i, s in enumerate(series) if may_be_meant(s.images, grids, broken=bool(faults[i]))]
        reason = "the one on the grid of the mask"
        if len(meant) == 1 and faults[meant[0]]:
            raise SourceError(
                f"{len(series)} series in the folder, of which only one lies on the grid of the mask, and it cannot be "
                f"used: {faults[meant[0]]}"
            )
    if len(meant) != 1:
        found = f"{len(meant)} of them lie on the grid of the mask and " if len(meant) > 1 else ""
        raise SourceError(
            f"{len(series)} series in the folder, {found}nothing tells which is meant: {list_series(images, faults)}. "
            f"Keep one, or {advise_series(images)}"
        )
    described = describe_series(images)
    others = "; ".join(
        described[i] + (f", unusable: {shorten(faults[i])}" if faults[i] else "")
        for i in range(len(series))
        if i != meant[0]
    )
    chosen = f"{len(series)} series in the folder: took {reason} ({described[meant[0]]})"
    return [series[meant[0]]], f"{chosen}, passed over {len(series) - 1} ({others})"[:1000]


def _fault(series: Series) -> str:
    try:
        usable(series)
    except SourceError as error:
        return str(error)
    return ""


def _stack(frames: list[Frame]) -> Stack:
    matrices = {(int(f.dataset.Rows), int(f.dataset.Columns)) for f in frames}
    if len(matrices) > 1:
        raise GeometryError(f"slices of several matrix sizes in one series: {sorted(matrices)}, expected one; split it")
    rows, columns = matrices.pop()
    positions, orientations = np.array([f.position_mm for f in frames]), np.array([f.orientation for f in frames])
    shared = shared_positions(positions, orientations)
    first = frames[0]
    thickness, between = (
        frame_number(first.dataset, first.index, name) for name in ("SliceThickness", "SpacingBetweenSlices")
    )
    return stack_slices(
        positions,
        orientations,
        rows=rows,
        columns=columns,
        pixel_spacings_mm=np.array([frame.pixel_spacing_mm for frame in frames]),
        header_spacing_mm=between if np.isfinite(between) else None,
        header_thickness_mm=thickness if np.isfinite(thickness) else None,
        advice=describe_frames(shared, frames) if shared else "",
    )
