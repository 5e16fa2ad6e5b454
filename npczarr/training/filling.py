"""Filling a batch: tiles of each scan are decoded and normalized straight into it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from npczarr.kernels.patches import normalize_into
from npczarr.model.geometry import Floats, Shape
from npczarr.model.training import ScanFacts
from npczarr.store.scans import StoredScan
from npczarr.store.tile_cache import TileCache
from npczarr.store.tiles import Tile, TileReader
from npczarr.store.voxels import Window
from npczarr.training.sampling import place_patch, windows
from npczarr.training.subjects import Subject, facts_of
from npczarr.training.unchanged import Unchanged

Normalization = Literal["zscore", "percentile"]


class Batch(NamedTuple):
    """Patches of several patients.

    Parameters
    ----------
    images
        (batch, sequence, z, y, x) float32, normalized; 0 outside a scan.
    masks
        (batch, sequence, z, y, x) uint8 labels, 0 outside a scan; of one sequence with `mask_of`, of none where masks
        were not asked for.
    patients
        Label of each.
    starts_zyx
        (batch, 3) first voxel of each in its scan.
    affines
        (batch, 4, 4) voxel index (x, y, z, 1) of each patch to LPS mm.
    step
        Number of the batch since the beginning.
    """

    images: NDArray[np.float32]
    masks: NDArray[np.uint8]
    patients: tuple[str, ...]
    starts_zyx: NDArray[np.int64]
    affines: Floats
    step: int

    def __repr__(self) -> str:
        return f"<Batch {self.step}: images {self.images.shape}, masks {self.masks.shape}, {', '.join(self.patients)}>"


@dataclass(frozen=True, slots=True)
class PatchFiller:
    """Fills patches of one kind; it can travel to another process.

    Parameters
    ----------
    size_zyx, sequences, masks
        Voxels of a patch, of how many sequences it has images, and of how many masks.
    normalize
        How stored values become those of a patch; None for real values.
    foreground
        Share of patches that are placed about foreground.
    cache
        Keeps objects of the store as they are encoded.
    found
        Facts of scans that the store does not keep, by place.
    unchanged
        Tells of scans that have changed.
    """

    size_zyx: Shape
    sequences: int
    masks: int
    normalize: Normalization | None
    foreground: float
    cache: TileCache
    found: dict[tuple[int, int], ScanFacts] = field(default_factory=dict)
    unchanged: Unchanged = field(default_factory=Unchanged)

    @property
    def bytes_of_patch(self) -> int:
        """Bytes of the images and masks of one patch."""
        return int(np.prod(self.size_zyx)) * (self.sequences * np.dtype(np.float32).itemsize + self.masks)

    def empty(self, subjects: Sequence[Subject], step: int) -> Batch:
        """Return a batch with nothing in it yet."""
        n = len(subjects)
        return Batch(
            np.empty((n, self.sequences, *self.size_zyx), np.float32),
            np.empty((n, self.masks, *self.size_zyx), np.uint8),
            tuple(subject.patient for subject in subjects),
            np.zeros((n, 3), np.int64),
            np.zeros((n, 4, 4)),
            step,
        )

    def fill(self, subject: Subject, seed: int, number: int, i: int, batch: Batch) -> None:
        """Draw a patch of a patient and fill place `i` of a batch with it.

        Parameters
        ----------
        seed, number
            Seed of the run, and number of the sample.

        Raises
        ------
        StoreError
            If a scan is damaged, or was changed since the store was opened.
        """
        known = [self._facts(scan, facts) for scan, facts in zip(subject.scans, subject.facts, strict=True)]
        outlined = [self._facts(scan, facts) for scan, facts in zip(subject.outlined, subject.outlines, strict=True)]
        grid = subject.grid
        starts = place_patch(seed, number, grid.shape_zyx, self.size_zyx, _by_label(outlined), self.foreground)
        source, target = windows(starts, self.size_zyx, grid.shape_zyx)
        batch.starts_zyx[i] = starts
        batch.affines[i] = grid.affine
        batch.affines[i, :3, 3] += grid.affine[:3, :3] @ np.array(starts[::-1])
        for values in (batch.images[i], batch.masks[i]):
            _clear_outside(values, target)
        contents = self._remote_objects(subject, source)
        for s, (scan, facts) in enumerate(zip(subject.scans, known, strict=True)):
            tiles = TileReader(scan.image_array, self.cache).tiles(scan, source, contents)
            self._fill_image(tiles, scan, facts, source, batch.images[i, s], target)
        for s, scan in enumerate(subject.outlined[: self.masks]):
            place = batch.masks[i, s][target]
            for tile in TileReader(scan.mask_array, self.cache).tiles(scan, source, contents):
                place[tile.span] = tile.values
        self.unchanged.check((*subject.scans, *subject.outlined))

    def _remote_objects(self, subject: Subject, source: Window) -> dict[str, bytes | None] | None:
        """Read what a patch needs of a remote store, all at once: one wait for all sequences and masks."""
        if not subject.scans[0].image_array.location.is_remote:
            return None
        arrays = [(scan, scan.image_array) for scan in subject.scans]
        arrays += [(scan, scan.mask_array) for scan in subject.outlined[: self.masks]]
        return self.cache.get((array, TileReader(array, self.cache).keys(scan, source)) for scan, array in arrays)

    def _fill_image(
        self,
        tiles: Iterable[Tile],
        scan: StoredScan,
        facts: ScanFacts,
        source: Window,
        patch: NDArray[np.float32],
        target: Window,
    ) -> None:
        depths = source[0]
        if self.normalize is None:
            scales, offsets = scan.slope[depths], scan.intercept[depths]
        else:
            scale, offset = self._line(facts, inverted=float(scan.slope[0]) < 0)
            scales, offsets = (np.full(depths.stop - depths.start, number) for number in (scale, offset))
        padding = scan.image_array.padding
        for tile in tiles:
            z, y, x = (slice(t.start + s.start, t.start + s.stop) for t, s in zip(target, tile.span, strict=True))
            depth = tile.span[0]
            normalize_into(tile.chunk, tile.inside, scales[depth], offsets[depth], padding, patch, (z, y, x))

    def _line(self, facts: ScanFacts, *, inverted: bool) -> tuple[float, float]:
        """Return scale and offset by which stored values are normalized, which may rise where real values fall."""
        low, width = facts.mean, -facts.standard_deviation if inverted else facts.standard_deviation
        if self.normalize == "percentile":
            low, high = (facts.high, facts.low) if inverted else (facts.low, facts.high)
            width = high - low
        if not np.isfinite(width) or width == 0:  # an image of one value
            width = 1.0
        return 1.0 / width, -low / width

    def _facts(self, scan: StoredScan, facts: ScanFacts | None) -> ScanFacts:
        if facts is not None:
            return facts
        if scan.place not in self.found:
            self.found[scan.place] = facts_of(scan)
        return self.found[scan.place]


def _clear_outside(values: NDArray[Any], inside: Window) -> None:
    """Set to 0 what of (sequence, z, y, x) lies outside a box of (z, y, x)."""
    z, y, x = inside
    for before, span in (((), z), ((z,), y), ((z, y), x)):
        values[(slice(None), *before, slice(0, span.start))] = 0
        values[(slice(None), *before, slice(span.stop, None))] = 0


def _by_label(known: Sequence[ScanFacts]) -> list[NDArray[np.int32]]:
    """Return the foreground of all sequences of a patient, label by label."""
    points = np.concatenate([facts.foreground for facts in known])
    return [points[points[:, 0] == label, 1:] for label in np.unique(points[:, 0])]
