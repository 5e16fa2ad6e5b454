from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npczarr.model.layout import plan_layout

shapes = st.tuples(st.integers(1, 60), st.integers(1, 700), st.integers(1, 700))
small = st.tuples(*[st.integers(1, 12)] * 3)
law = settings(deadline=None)


@law
@given(st.lists(shapes, min_size=1, max_size=20))
def test_every_scan_of_the_plan_fits_one_shard(cohort):
    layout = plan_layout(cohort)
    assert all(layout.fits(shape) for shape in cohort)
    assert list(layout.shards()) == [(0, 0, 0)]
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
    grown = layout.grown(larger)
    assert grown.fits(larger)
    assert grown.fits((30, 512, 512))
    assert (grown.chunk_zyx, grown.shard_zyx) == (layout.chunk_zyx, layout.shard_zyx)


@law
@given(shapes, shapes)
def test_growing_for_what_fits_changes_nothing_and_order_does_not_matter(a, b):
    layout = plan_layout([a])
    assert layout.grown(a) == layout
    assert layout.grown(a).grown(b) == layout.grown(b).grown(a)


@law
@given(small, small)
def test_shards_cover_the_grown_array_in_c_order(a, b):
    layout = plan_layout([a]).grown(b)
    shards = list(layout.shards())
    counts = [-(-n // shard) for n, shard in zip(layout.extent_zyx, layout.shard_zyx, strict=True)]
    assert shards == list(product(*map(range, counts)))
    last = [(i + 1) * shard for i, shard in zip(shards[-1], layout.shard_zyx, strict=True)]
    assert all(end >= n for end, n in zip(last, layout.extent_zyx, strict=True))
