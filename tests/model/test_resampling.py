import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npczarr.errors import ParameterError
from npczarr.model.geometry import Grid
from npczarr.model.resampling import Resampling, make_resampling

AFFINE = np.array([[0.43, 0, 0, -110], [0, 0.43, 0, -90], [0, 0, 5.5, 30], [0, 0, 0, 1]])
OWN = Grid((30, 512, 512), AFFINE)

lengths = st.floats(0.2, 20)
counts = st.integers(1, 60)


@given(st.tuples(counts, counts, counts), st.tuples(lengths, lengths, lengths), st.tuples(lengths, lengths, lengths))
def test_regrid_keeps_axes_and_middle_and_covers_the_field_of_view(shape, spacing, wanted):
    own = Grid(shape, np.diag([*spacing[::-1], 1]))
    new = own.regrid(spacing=wanted)
    np.testing.assert_allclose(new.spacing_zyx_mm, wanted)
    np.testing.assert_allclose(new.center_mm(), own.center_mm(), atol=1e-9)
    field, covered = np.multiply(shape, spacing), np.multiply(new.shape_zyx, wanted)
    assert (covered > field - 1e-3).all()
    assert (covered < field + np.array(wanted) + 1e-3).all()


def test_shape_keeps_the_field_of_view_exactly():
    new = OWN.regrid(shape=(None, 256, 300))
    assert new.shape_zyx == (30, 256, 300)
    np.testing.assert_allclose(
        np.multiply(new.shape_zyx, new.spacing_zyx_mm), np.multiply((30, 512, 512), (5.5, 0.43, 0.43))
    )
    both = OWN.regrid(shape=(40, None, 128), spacing=(2, 1, None))
    assert both.shape_zyx == (40, 221, 128)
    np.testing.assert_allclose(both.spacing_zyx_mm, (2, 1, 512 * 0.43 / 128))


def test_a_box_takes_voxels_as_they_lie_and_may_reach_out():
    point = np.array([-50.1, -20.2, 60.3])
    box = OWN.around(point, (33, 21.5, 43))
    assert box.shape_zyx == (6, 50, 100)
    assert np.abs(box.center_mm() - point).max() <= 5.5 / 2
    steps = np.linalg.solve(AFFINE, box.affine[:, 3])[:3]
    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-9)
    assert OWN.around(np.array([999.0, 0, 0]), (10, 10, 10)).shape_zyx == (2, 23, 23)


def test_steps_follow_one_another():
    request = Resampling(spacing=(2.0, 1.0, 1.0), window=(40, 60, 60), center="volume")
    new = request.grid(OWN)
    assert new.shape_zyx == (20, 60, 60)
    np.testing.assert_allclose(new.center_mm(), OWN.center_mm(), atol=1.01)
    assert Resampling(bounds=((40, 60), None, (-100, 0))).grid(OWN).shape_zyx == (4, 512, 232)
    other = Grid((10, 20, 20), np.diag([2.0, 2, 2, 1]))
    assert Resampling(like="T1WI").grid(OWN, other) is other


def test_described_is_enough_to_ask_again():
    for request in (
        Resampling(spacing=(1.0, None, 2.0), method="cubic"),
        Resampling(window=(1.0, 2.0, 3.0), normalize="zscore"),
        Resampling(bounds=((1.0, 2.0), None, None), shape=(None, 256, 256)),
    ):
        assert make_resampling(**request.described()) == request


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"spacing": (1, 1)}, "spacing must be three numbers of mm above 0"),
        ({"spacing": (1, 0, 1)}, "spacing"),
        ({"spacing": (1, float("nan"), 1)}, "spacing"),
        ({"spacing": "abc"}, "spacing"),
        ({"shape": (None, 256.5, 256)}, "shape must be three whole numbers"),
        ({"shape": (None, -1, 256)}, "shape"),
        ({"window": (None, 10, 10)}, "window"),
        ({"bounds": ((5, 1), None, None)}, "bounds must be three pairs of rising positions"),
        ({"method": "lanczos"}, "method must be one of nearest, linear, cubic, area"),
        ({"mask_method": "cubic"}, "mask_method must be one of"),
        ({"center": "brain", "window": (1.0, 1.0, 1.0)}, "center must be one of tumor, volume"),
        ({"normalize": "max"}, "normalize must be one of zscore, percentile"),
        ({"window": (1.0, 1.0, 1.0), "bounds": (None, None, (0.0, 1.0))}, "not both"),
    ],
)
def test_wrong_requests_are_refused_at_once(wrong, said):
    with pytest.raises(ParameterError, match=said):
        make_resampling(**wrong)


def test_bounds_that_hold_nothing_say_what_there_is():
    with pytest.raises(ParameterError, match=r"bounds along z, 900 to 901 mm.*30\.0 to 189\.5"):
        Resampling(bounds=((900, 901), None, None)).grid(OWN)
