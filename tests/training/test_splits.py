"""Splits: by subject, in proportion, the same for the same seed, kept by name."""

import shutil
from collections import Counter

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import npczarr as npc
from npczarr.errors import ParameterError, UnknownLabelError
from npczarr.model.division import divide


@given(
    st.lists(st.sampled_from("abc"), min_size=1, max_size=60),
    st.sampled_from([{"x": 1.0}, {"x": 0.7, "y": 0.15, "z": 0.15}, {str(i): 0.2 for i in range(5)}]),
    st.integers(0, 3),
)
def test_parts_have_their_shares_in_all_and_in_each_stratum(strata, shares, seed):
    subjects = [f"{i:03d}" for i in range(len(strata))]
    found = divide(subjects, [(s,) for s in strata], shares, seed)
    assert found == divide(subjects, [(s,) for s in strata], shares, seed)
    counts = Counter(found)
    for part, share in shares.items():
        assert abs(counts[part] - share * len(subjects)) < 1.01
        for stratum in set(strata):
            of_stratum = [f for f, s in zip(found, strata, strict=True) if s == stratum]
            assert abs(of_stratum.count(part) - share * len(of_stratum)) < 2.01


@given(st.lists(st.integers(0, 12), min_size=1, max_size=40))
def test_visits_of_one_subject_stay_together(visits):
    found = divide([str(v) for v in visits], [()] * len(visits), {"train": 0.5, "test": 0.5}, 0)
    assert len({(v, part) for v, part in zip(visits, found, strict=True)}) == len(set(visits))


@pytest.mark.slow
def test_a_split_is_kept_and_chosen_by(store, tmp_path):
    url = shutil.copytree(store, tmp_path / "s.zarr")
    part = npc.split(url, folds=3, name="fold", stratify="sex" if "sex" in xr.open_zarr(url) else ())
    assert sorted(part) == ["0", "1", "2"]
    np.testing.assert_array_equal(xr.open_zarr(url).fold.values.astype(object), part)
    assert npc.split(url, folds=3, name="fold", stratify="sex" if "sex" in xr.open_zarr(url) else ()).equals(part)
    assert npc.validate(url, workers=0) == ()
    p = npc.patches(url, size=8, sequences=["T1WI"], where="fold != '1'")
    assert p.subjects == tuple(part.index[part != "1"])
    with pytest.raises(ParameterError, match="'fold' is a split that differs"):
        npc.split(url, name="fold")
    assert set(npc.split(url, name="fold", shares={"a": 1.0}, replace=True)) == {"a"}
    with pytest.raises(ParameterError, match="'age' is another column"):
        npc.split(url, name="age", replace=True)
    with pytest.raises(UnknownLabelError, match="no column 'stag'"):
        npc.split(url, name="b", stratify="stag")
    with pytest.raises(ParameterError, match="sum up to 1"):
        npc.split(url, name="b", shares={"a": 0.5})
    for wrong in ("training", "", "a/b", "spacing_z", "class", "image", 3):
        with pytest.raises(ParameterError, match="name: "):
            npc.split(url, name=wrong)
    for wrong in ([0.5, 0.5], {"a": "x"}):
        with pytest.raises(ParameterError, match="shares"):
            npc.split(url, name="b", shares=wrong)
    for wrong in (-1, 1.5, "1", None):
        with pytest.raises(ParameterError, match="seed: expected a whole number"):
            npc.split(url, name="b", seed=wrong)
    with pytest.warns(UserWarning, match="nobody is in 3, 4; 3 subjects are too few"):
        npc.split(url, name="b", folds=5)
