"""Damaged and hostile files: an error that npczarr raises on purpose, or a record; never text of the file."""

import tracemalloc
from collections import Counter

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.uid import ImplicitVRLittleEndian

from npczarr.errors import NpczarrError
from npczarr.sources.structures import on_grid, overlaps, rasterize, read_rtstruct, read_segmentation
from tests.sources.structures.build import (
    SECRET,
    box,
    contour_item,
    rtstruct_dataset,
    save,
    seg,
    straight_grid,
    to_mm,
)

GRID = straight_grid((4, 8, 9))
MOST_BYTES = 50e6  # what a file of a few kilobytes may take


def _rtstruct(syntax: str | None) -> bytes:
    contours = [contour_item(to_mm(GRID, box(1, 1, 6, 6), z)) for z in range(3)]
    dataset = rtstruct_dataset({"GTV": contours, "CTV": contours[:1]})
    if syntax:
        dataset.file_meta.TransferSyntaxUID = syntax
    return save(dataset)


def _segs() -> list[bytes]:
    volume = np.random.default_rng(0).integers(0, 2, GRID.shape_zyx)
    frames = [(1, 2, volume[2]), (1, 0, volume[0]), (2, 1, volume[1])]
    kinds = ({}, {"kind": "FRACTIONAL"}, {"kind": "LABELMAP", "compressed": True}, {"kind": "LABELMAP", "bits": 16})
    return [seg(GRID, frames, **options) for options in kinds]


FILES = {"rtstruct": [_rtstruct(None), _rtstruct(ImplicitVRLittleEndian)], "seg": _segs()}


def use(kind: str, content: bytes) -> str:
    """Read and place everything of a file; the texts that it gives."""
    if kind == "rtstruct":
        structures = read_rtstruct(content)
        texts = [*structures.warnings, *(roi.name for roi in structures.rois)]
        for roi in structures.rois:
            try:
                mask, warnings = rasterize(roi, GRID)
            except NpczarrError as error:
                texts.append(str(error))
                continue
            assert mask.shape == GRID.shape_zyx
            assert mask.max() <= 1
            texts += warnings
        return " ".join(texts)
    segmentation = read_segmentation(content)
    texts = [*segmentation.warnings, *(segment.label for segment in segmentation.segments)]
    overlaps(segmentation)
    for segment in segmentation.segments:
        for grid in (GRID, straight_grid((4, 8, 9), (2.0, 0.9, 0.9))):
            try:
                found = on_grid(segmentation, segment, grid)
            except NpczarrError as error:
                texts.append(str(error))
                continue
            assert found.mask.shape == GRID.shape_zyx
            assert found.mask.max() <= 1
            texts += found.warnings
    return " ".join(texts)


EDIT = st.one_of(
    st.tuples(st.just("byte"), st.floats(0, 1), st.integers(0, 255)),
    st.tuples(st.just("cut"), st.floats(0, 1), st.integers(1, 64)),
    st.tuples(st.just("copy"), st.floats(0, 1), st.integers(1, 400)),
    st.tuples(st.just("end"), st.floats(0, 1), st.just(0)),
    st.tuples(st.just("number"), st.floats(0, 1), st.sampled_from([0, 1, 2**16 - 1, 2**31 - 1, 2**32 - 1])),
)


def damaged(content: bytes, edits) -> bytes:
    for kind, place, value in edits:
        at = 132 + int(place * max(0, len(content) - 133))
        if kind == "byte":
            content = content[:at] + bytes([value]) + content[at + 1 :]
        elif kind == "cut":
            content = content[:at] + content[at + value :]
        elif kind == "copy":
            content = content[:at] + content[at : at + value] + content[at:]
        elif kind == "end":
            content = content[:at]
        else:
            content = content[:at] + value.to_bytes(4, "little") + content[at + 4 :]
    return content


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["rtstruct", "seg"])
def test_damage_of_any_kind_is_an_error_on_purpose_within_memory(kind):
    outcomes: Counter[str] = Counter()

    @settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.integers(0, len(FILES[kind]) - 1), st.lists(EDIT, min_size=1, max_size=4))
    def check(which, edits):
        content = damaged(FILES[kind][which], edits)
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        try:
            text = use(kind, content)
            outcomes["read"] += 1
        except NpczarrError as error:
            text = str(error)
            outcomes["refused"] += 1
        assert tracemalloc.get_traced_memory()[1] - before < MOST_BYTES
        assert SECRET not in text

    tracemalloc.start()
    try:
        check()
    finally:
        tracemalloc.stop()
    assert min(outcomes["read"], outcomes["refused"]) > 10, outcomes


@pytest.mark.parametrize("kind", ["rtstruct", "seg"])
@given(content=st.binary(max_size=300))
@settings(max_examples=200, deadline=None)
def test_what_is_no_dicom_is_refused(kind, content):
    for start in (b"", b"\0" * 128 + b"DICM"):
        with pytest.raises(NpczarrError):
            use(kind, start + content)
