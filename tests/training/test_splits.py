"""Splits: by subject, in proportion, the same for the same seed, kept by name."""

import shutil
from collections import Counter

import numpy as np
import pytest
import xarray as xr
import zarr
from hypothesis import given
from hypothesis import strategies as st

import npczarr as npc
from npczarr.errors import ParameterError, UnknownLabelError
from npczarr.model.division import divide
from npczarr.model.schema import Variable
from npczarr.store import create

HALVES = {"train": 0.5, "test": 0.5}


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
    with pytest.raises(ParameterError, match="'Fold' differs from the column 'fold' in case alone"):
        npc.split(url, name="Fold")
    with pytest.raises(UnknownLabelError, match="no column 'stag'"):
        npc.split(url, name="b", stratify="stag")
    with pytest.raises(ParameterError, match="sum up to 1"):
        npc.split(url, name="b", shares={"a": 0.5})
    for wrong in ("training", "", "a/b", "spacing_z", "class", "image", 3, "age", "Gender", "t_stage"):
        with pytest.raises(ParameterError, match="name: "):
            npc.split(url, name=wrong)
    for wrong in ([0.5, 0.5], {"a": "x"}, {0: 0.5, 1: 0.5}, {"": 0.5, "a": 0.5}):
        with pytest.raises(ParameterError, match="shares"):
            npc.split(url, name="b", shares=wrong)
    for wrong in (3, [3]):
        with pytest.raises(ParameterError, match="stratify: expected the name of a column"):
            npc.split(url, name="b", stratify=wrong)
    for wrong in (-1, 1.5, "1", None):
        with pytest.raises(ParameterError, match="seed: expected a whole number"):
            npc.split(url, name="b", seed=wrong)
    with pytest.warns(UserWarning, match="nobody is in 3, 4; 3 subjects are too few"):
        npc.split(url, name="b", folds=5)


@given(st.integers(1, 30), st.integers(0, 30), st.integers(0, 3))
def test_who_has_a_part_keeps_it_and_the_others_fill_what_lacks(old, new, seed):
    shares = {"train": 0.5, "val": 0.25, "test": 0.25}
    subjects = [f"{i:03d}" for i in range(old + new)]
    before = divide(subjects[:old], [()] * old, shares, seed)
    after = divide(subjects, [()] * len(subjects), shares, seed, dict(zip(subjects, before, strict=False)))
    assert after[:old] == before
    for part, share in shares.items():
        assert abs(after.count(part) - share * len(subjects)) < 1.01


@pytest.mark.slow
def test_patients_who_join_a_store_join_its_split_and_nobody_moves(store, tmp_path):
    url = shutil.copytree(store, tmp_path / "s.zarr")
    before = npc.split(url, shares=HALVES)
    root = zarr.open_group(url, mode="r+", use_consolidated=False)
    values = root["split"][...]
    values[1] = ""  # as of a patient whom a later convert adds
    root["split"][...] = values
    after = npc.split(url, shares=HALVES)
    assert (after.iloc[[0, 2]] == before.iloc[[0, 2]]).all()
    assert after.iloc[1] in HALVES
    np.testing.assert_array_equal(xr.open_zarr(url).split.values.astype(object), after)
    with pytest.raises(ParameterError, match=r"a split that differs, made by .*; name another, or make it anew"):
        npc.split(url, shares=HALVES, seed=1)


@pytest.mark.slow
def test_a_split_that_parts_the_visits_of_a_subject_is_not_kept(store, tmp_path):
    url = shutil.copytree(store, tmp_path / "s.zarr")
    npc.split(url, shares=HALVES)
    root = zarr.open_group(url, mode="r+", use_consolidated=False)
    root["split"][...] = np.array(["train", "test", "train"], dtype=root["split"][...].dtype)
    root["patient"][...] = np.array(["1_ses-a", "1_ses-b", "3"], dtype=root["patient"][...].dtype)
    with pytest.raises(ParameterError, match="'split' parts the visits of 1 subject"):
        npc.split(url, shares=HALVES)


@pytest.mark.slow
@pytest.mark.parametrize("broken", ["consolidate", "_write_column", "delete"])
def test_a_split_that_was_interrupted_is_completed_by_the_next(store, tmp_path, monkeypatch, broken):
    url = shutil.copytree(store, tmp_path / "s.zarr")

    def killed(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(create, broken, killed)
        with pytest.raises(KeyboardInterrupt):
            npc.split(url, shares=HALVES)
    assert (url / "status/resizing").exists()
    found = npc.split(url, shares=HALVES)
    np.testing.assert_array_equal(xr.open_zarr(url).split.values.astype(object), found)
    assert not (url / "status/resizing").exists()
    assert npc.validate(url, workers=0) == ()


@pytest.mark.slow
def test_a_split_does_not_hide_that_something_else_was_interrupted(store, tmp_path):
    url = shutil.copytree(store, tmp_path / "s.zarr")
    for left in (b"", b'["age"]'):  # of a resize, and of other columns
        (url / "status/resizing").write_bytes(left)
        found = npc.split(url, name="a" if left else "b", shares=HALVES)
        np.testing.assert_array_equal(xr.open_zarr(url)[found.name].values.astype(object), found)
        assert (url / "status/resizing").read_bytes() == left


@pytest.mark.slow
def test_what_an_interrupted_change_is_completed_with_is_marked_too(store, tmp_path, monkeypatch):
    url = shutil.copytree(store, tmp_path / "s.zarr")
    (url / "status/resizing").write_bytes(b'["a"]')
    root = zarr.open_group(url, mode="r+", use_consolidated=False)
    columns = {
        name: (Variable(name, ("patient",), "string", "of a test"), np.array(["x", "y", "z"], dtype=object))
        for name in ("a", "b")
    }

    def killed(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(create, "consolidate", killed)
        with pytest.raises(KeyboardInterrupt):
            create.add_columns(root, columns)
    assert (url / "status/resizing").read_bytes() == b'["a", "b"]'
    assert create.add_columns(root, columns)
    assert not (url / "status/resizing").exists()
    assert not create.add_columns(root, columns)
