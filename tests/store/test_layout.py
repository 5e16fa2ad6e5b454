"""Chunks of image and mask: their size, what makes the arrays grow, and what a user is told of padding."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npczarr.errors import ParameterError, SourceError
from npczarr.model.layout import Layout, check_codec, chunk_counts, padding_remark, plan_layout, table_chunks
from npczarr.model.limits import Limits

shapes = st.tuples(st.integers(1, 60), st.integers(1, 700), st.integers(1, 700))
small = st.tuples(*[st.integers(1, 12)] * 3)
law = settings(deadline=None)
NONE = Limits(scan_gb=1e9, axis_voxels=1e9)
MIB = 2**20


@pytest.mark.parametrize(
    ("cohort", "dtype", "image", "mask"),
    [
        ([(30, 512, 512)], "int16", (8, 512, 512), (30, 512, 512)),
        ([(30, 512, 512)], "int32", (4, 512, 512), (30, 512, 512)),
        ([(30, 512, 512)] * 2 + [(20, 640, 640)], "int16", (5, 640, 640), (30, 640, 640)),
        ([(24, 256, 256)], "int16", (24, 256, 256), (24, 256, 256)),  # never more than the commonest depth
        ([(200, 512, 512)], "int16", (8, 512, 512), (64, 512, 512)),  # 16 MiB of mask
        ([(50, 100, 100)] * 60 + [(130, 512, 512)], "int16", (50, 200, 200), (50, 200, 200)),  # 26 times the area
        ([(50, 100, 300)] * 60 + [(50, 400, 310)], "int16", (33, 200, 310), (50, 200, 310)),  # at most the largest
        ([(5, 3000, 3000)], "int16", (1, 3000, 3000), (1, 3000, 3000)),  # a slice is the least
        ([(30, 256, 512), (30, 512, 256)], "int16", (8, 512, 512), (30, 512, 512)),
    ],
)
def test_the_rule_by_example(cohort, dtype, image, mask):
    layout = plan_layout(cohort, dtype=dtype)
    assert (layout.image_chunk_zyx, layout.mask_chunk_zyx) == (image, mask)


@law
@given(st.lists(shapes, min_size=1, max_size=20), st.sampled_from(["int16", "int32", "float32"]))
def test_the_rule_as_a_law(cohort, dtype):
    layout = plan_layout(cohort, dtype=dtype)
    depths = [z for z, _, _ in cohort]
    matrices = [(y, x) for _, y, x in cohort]
    largest = max(y for y, _ in matrices), max(x for _, x in matrices)
    common = max(set(matrices), key=lambda m: (matrices.count(m), m))
    matrix = layout.image_chunk_zyx[1:]
    assert layout.extent_zyx == (max(depths), *largest)
    assert all(layout.fits(shape) for shape in cohort)
    assert layout.mask_chunk_zyx[1:] == matrix
    if largest[0] * largest[1] <= 4 * common[0] * common[1]:
        assert matrix == largest
    else:
        assert matrix == tuple(min(2 * n, most) for n, most in zip(common, largest, strict=True))
    for name, itemsize, most in (("image", np.dtype(dtype).itemsize, 4 * MIB), ("mask", 1, 16 * MIB)):
        chunk = layout.chunk_zyx(name)
        size = np.prod(chunk) * itemsize
        assert chunk[0] == 1 or size <= most
        most_often = max(map(depths.count, depths))
        tied = sorted({z for z in depths if depths.count(z) == most_often})
        commonest = tied[(len(tied) - 1) // 2]  # of those tied the middle one: one odd scan decides nothing
        assert chunk[0] == commonest or size + matrix[0] * matrix[1] * itemsize > most
        assert chunk[0] <= commonest


def test_neither_the_order_of_scans_nor_the_codec_changes_the_chunks():
    cohort = [(30, 512, 512), (20, 256, 256), (20, 256, 256), (24, 300, 200)]
    assert plan_layout(cohort) == plan_layout(cohort[::-1])
    assert plan_layout(cohort, codec="zstd").image_chunk_zyx == plan_layout(cohort).image_chunk_zyx
    with pytest.raises(ParameterError, match="lz4, zstd, got 'gzip'"):
        check_codec("gzip")


def test_a_cohort_of_nothing_has_a_layout():
    assert plan_layout([]).extent_zyx == (1, 1, 1)


@pytest.mark.parametrize("larger", [(31, 512, 512), (30, 640, 512), (30, 512, 640)])
def test_a_larger_scan_does_not_fit_until_the_layout_has_grown(larger):
    layout = plan_layout([(30, 512, 512)])
    assert not layout.fits(larger)
    grown = layout.grown(larger, Limits())
    assert grown.fits(larger)
    assert grown.fits((30, 512, 512))
    assert [grown.chunk_zyx(name) for name in ("image", "mask")] == [
        layout.chunk_zyx(name) for name in ("image", "mask")
    ]


@law
@given(small, small)
def test_growing_for_what_fits_changes_nothing_and_order_does_not_matter(a, b):
    layout = plan_layout([a])
    assert layout.grown(a, NONE) == layout
    assert layout.grown(a, NONE).grown(b, NONE) == layout.grown(b, NONE).grown(a, NONE)


@law
@given(small, small, st.sampled_from(["image", "mask"]))
def test_chunks_cover_a_scan_in_c_order_and_no_more(chunk, shape, name):
    layout = Layout(shape, chunk, chunk)
    chunks = list(layout.chunks(name, shape))
    counts = chunk_counts(shape, chunk)
    assert chunks == list(product(*map(range, counts)))
    assert all(i * c < n <= (i + 1) * c for i, c, n in zip(chunks[-1], chunk, shape, strict=True))


def test_absurd_shapes_do_not_pad_the_others():
    usual, absurd = (
        [(30, 512, 512)] * 20,
        [(1, 60000, 1), (1, 1, 60000), (20000, 1, 1), (9000, 9000, 1), (1, 9000, 9000)],
    )
    plain = plan_layout(usual, limits=Limits())
    assert plan_layout(usual + absurd, limits=Limits()) == plain
    for shape in absurd:
        with pytest.raises(SourceError, match=r"over the limit of .*raise limits\.(axis_voxels|scan_gb)"):
            plain.grown(shape, Limits()).grown((200, 2000, 5000), Limits())
    assert plan_layout(absurd[:3], limits=Limits()).extent_zyx == (1, 1, 1)


def test_a_scan_is_not_cut_into_thousands_of_chunks():
    tiny = plan_layout([(1, 2, 2)] * 50, limits=Limits())
    with pytest.raises(SourceError, match="would be 1048576 of this scan; convert into a new store"):
        tiny.grown((1, 2048, 2048), Limits())


def test_tables_are_cut_along_patients_and_slices_alone():
    assert table_chunks(("patient", "sequence", "z"), (7, 3, 30)) == (4096, 3, 64)
    assert table_chunks(("patient",), (10**6,)) == (4096,)
    assert table_chunks(("sequence", "axis"), (0, 3)) == (1, 3)


def test_much_padding_is_remarked_and_little_is_not():
    mixed = [(50, 100, 100)] * 60 + [(130, 512, 512)]
    layout = plan_layout(mixed)
    padded = 61 * 130 * 512 * 512 / (60 * 50 * 100 * 100 + 130 * 512 * 512)
    assert padding_remark(mixed, layout).startswith(f"scans are padded to 130 x 512 x 512 voxels, {padded:.1f} times")
    alike = [(30, 512, 512)] * 5 + [(20, 320, 320)]
    assert padding_remark(alike, plan_layout(alike)) == ""
    assert padding_remark([(0, 0, 0)], plan_layout([])) == ""
    # few voxels in all, but each in a chunk much larger than the scan
    assert "take 25.6 times" in padding_remark([(10, 10, 10)], Layout((10, 10, 10), (1, 32, 80), (1, 32, 80)))
