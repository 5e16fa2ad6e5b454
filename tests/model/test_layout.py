from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npczarr.errors import SourceError
from npczarr.model.layout import plan_layout
from npczarr.model.limits import Limits

shapes = st.tuples(st.integers(1, 60), st.integers(1, 700), st.integers(1, 700))
small = st.tuples(*[st.integers(1, 12)] * 3)
law = settings(deadline=None)
NONE = Limits(scan_gb=1e9, axis_voxels=1e9)


@law
@given(st.lists(shapes, min_size=1, max_size=20))
def test_every_scan_of_the_plan_fits_one_shard(cohort):
    layout = plan_layout(cohort)
    assert all(layout.fits(shape) for shape in cohort)
    assert list(layout.shards(layout.extent_zyx)) == [(0, 0, 0)]
    assert layout.extent_zyx == tuple(max(sizes) for sizes in zip(*cohort, strict=True))
    assert all(shard % chunk == 0 for shard, chunk in zip(layout.shard_zyx, layout.chunk_zyx, strict=True))
    assert layout.chunk_zyx[0] == 1
    assert (1, *cohort[0][1:]) == layout.chunk_zyx or len(cohort) > 1


def test_the_chunk_is_the_most_common_matrix_and_the_larger_of_a_tie():
    assert plan_layout([(3, 256, 256)] * 2 + [(3, 512, 512)]).chunk_zyx == (1, 256, 256)
    assert plan_layout([(3, 256, 256), (3, 512, 512)]).chunk_zyx == (1, 512, 512)
    assert plan_layout([(3, 256, 200), (3, 200, 256)]).chunk_zyx == (1, 256, 200)


def test_a_cohort_of_nothing_has_a_layout():
    assert plan_layout([]).extent_zyx == (1, 1, 1)


@pytest.mark.parametrize("larger", [(31, 512, 512), (30, 640, 512), (30, 512, 640)])
def test_a_larger_scan_does_not_fit_until_the_layout_has_grown(larger):
    layout = plan_layout([(30, 512, 512)])
    assert not layout.fits(larger)
    grown = layout.grown(larger, Limits())
    assert grown.fits(larger)
    assert grown.fits((30, 512, 512))
    assert (grown.chunk_zyx, grown.shard_zyx) == (layout.chunk_zyx, layout.shard_zyx)


@law
@given(small, small)
def test_growing_for_what_fits_changes_nothing_and_order_does_not_matter(a, b):
    layout = plan_layout([a])
    assert layout.grown(a, NONE) == layout
    assert layout.grown(a, NONE).grown(b, NONE) == layout.grown(b, NONE).grown(a, NONE)


@law
@given(small, small)
def test_shards_cover_the_grown_array_in_c_order(a, b):
    layout = plan_layout([a]).grown(b, NONE)
    shards = list(layout.shards(layout.extent_zyx))
    counts = [-(-n // shard) for n, shard in zip(layout.extent_zyx, layout.shard_zyx, strict=True)]
    assert shards == list(product(*map(range, counts)))
    last = [(i + 1) * shard for i, shard in zip(shards[-1], layout.shard_zyx, strict=True)]
    assert all(end >= n for end, n in zip(last, layout.extent_zyx, strict=True))


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


def test_a_chunk_is_not_so_small_that_the_index_of_a_shard_is_large():
    layout = plan_layout([(1, 2, 2)] * 50 + [(100, 3000, 3000)], limits=Limits())
    assert layout.chunk_zyx == (1, 3000, 3000)
    tiny = plan_layout([(1, 2, 2)] * 50, limits=Limits())
    with pytest.raises(SourceError, match="would be 1048576 of this scan; convert into a new store"):
        tiny.grown((1, 2048, 2048), Limits())
