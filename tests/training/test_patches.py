"""Patches: the voxels that the store holds, at the places that are said, drawn by seed and number alone."""

import gc
import multiprocessing
import os
import pickle
import shutil
import signal
import sys
import tempfile
from copy import deepcopy

import dask
import nibabel as nib
import numpy as np
import pytest
import xarray as xr

import npczarr as npc
from npczarr.errors import ParameterError, StoreError, UnknownLabelError
from npczarr.training.sampling import draws, place_patch

SIZE = (6, 24, 40)


def same(one, other):
    for name, a, b in zip(one._fields, one, other, strict=True):
        np.testing.assert_array_equal(a, b, err_msg=name)


def expected(url, patient, start, size, sequences):
    """A patch of real values and its mask by way of xarray: 0 outside the scan and outside the field of view."""
    ds = npc.open(url)
    images, masks = [], []
    for sequence in sequences:
        scan = ds.npc.scan(patient, sequence)
        stored = scan.image.values
        values = stored * scan.rescale_slope.values[:, None, None] + scan.rescale_intercept.values[:, None, None]
        if stored.dtype.kind == "f":
            values = np.nan_to_num(values)
        else:
            values[stored == np.iinfo(stored.dtype).min] = 0
        for source, into in ((values, images), (scan.mask.values, masks)):
            padded = np.pad(source, [(n, n) for n in size])
            box = tuple(slice(n + a, n + a + n) for a, n in zip(start, size, strict=True))
            into.append(padded[box])
    return np.stack(images), np.stack(masks)


@pytest.mark.slow
@pytest.mark.parametrize("size", [SIZE, (3, 200, 16), (40, 40, 40)], ids=str)
@pytest.mark.parametrize("kind", ["aligned", "tiled", "resampled", "plain"])
def test_a_patch_holds_what_the_store_holds(kind, size, store, request, tmp_path):
    sequences = ["T1WI"] if kind == "plain" else ["T1WI", "T2WI", "CE-T1WI"]
    if kind == "resampled":
        npc.resample_store(store, tmp_path / "r.zarr", like="T1WI", spacing=(4, 2, 2), workers=0)
    found = {"plain": store, "resampled": tmp_path / "r.zarr"}
    url = found[kind] if kind in found else request.getfixturevalue(kind)
    p = npc.patches(url, size=size, batch_size=2, sequences=sequences, normalize=None, steps=4, seed=3)
    ds = npc.open(url)
    for batch in p:
        assert batch.images.shape == (2, len(sequences), *size)
        assert (batch.images.dtype, batch.masks.dtype) == (np.float32, np.uint8)
        for i, patient in enumerate(batch.patients):
            image, mask = expected(url, patient, batch.starts_zyx[i], size, sequences)
            np.testing.assert_allclose(batch.images[i], image, rtol=1e-5, atol=1e-3)
            np.testing.assert_array_equal(batch.masks[i], mask)
            whole = ds.affine.sel(patient=patient, sequence=sequences[0]).values
            corner = whole @ (*batch.starts_zyx[i][::-1], 1)
            np.testing.assert_allclose(batch.affines[i] @ (0, 0, 0, 1), corner)
            np.testing.assert_allclose(batch.affines[i][:3, :3], whole[:3, :3])


@pytest.mark.slow
def test_every_encoding_gives_the_same(aligned, tiled, tmp_path):
    by_xarray = tmp_path / "x.zarr"
    copy = xr.open_zarr(tiled).load()
    for variable in copy.variables.values():
        variable.encoding = {k: v for k, v in variable.encoding.items() if k in ("dtype", "_FillValue")}
    copy.to_zarr(by_xarray, zarr_format=3, consolidated=False)
    one, *others = (npc.patches(url, size=SIZE, normalize=None, steps=3) for url in (aligned, tiled, by_xarray))
    expected = list(one)
    for other in others:
        for a, b in zip(expected, other, strict=True):
            same(a, b)


@pytest.mark.slow
def test_batches_depend_on_seed_and_number_alone(aligned):
    p = npc.patches(aligned, size=SIZE, batch_size=2, steps=6, seed=1, threads=2)
    copy = pickle.loads(pickle.dumps(p))
    whole = list(p)
    assert [batch.step for batch in whole] == list(range(6))
    for i in (5, 0, 3, -1):
        same(p[i], whole[i])
    with pytest.raises(IndexError):
        _ = p[6]
    for other in (
        npc.patches(aligned, size=SIZE, batch_size=2, steps=6, seed=1, threads=5),
        copy,
    ):
        for a, b in zip(whole, other, strict=True):
            same(a, b)
    for a, b in zip(whole[4:], npc.patches(aligned, size=SIZE, batch_size=2, steps=2, start=4, seed=1), strict=True):
        same(a, b)
    ranks = [npc.patches(aligned, size=SIZE, batch_size=1, steps=6, seed=1, rank=r, world=2) for r in (0, 1)]
    for batch, one, other in zip(whole, *ranks, strict=True):
        np.testing.assert_array_equal(batch.images, np.concatenate([one.images, other.images]))
    again = npc.patches(aligned, size=SIZE, batch_size=2, steps=6, seed=2)
    assert any((a.starts_zyx != b.starts_zyx).any() for a, b in zip(whole, again, strict=True))


def places(batches):
    return [(batch.step, batch.patients, batch.starts_zyx.tolist()) for batch in batches]


def test_each_iteration_goes_on_where_the_one_before_ended(aligned):
    asked = {"size": (4, 24, 24), "batch_size": 2, "seed": 1}
    p = npc.patches(aligned, **asked)
    first, second, third = (places(p) for _ in range(3))
    assert len(p) == 2
    assert first + second + third == places(npc.patches(aligned, **asked, steps=6))
    assert places([p[0], p[1]]) == third
    p.set_epoch(1)
    assert places([p[0], p[1]]) == second == places(p)
    assert places(p) == third
    for _ in p:  # left early
        break
    assert places(p) == places(npc.patches(aligned, **asked, start=8))
    for wrong in (-1, 1.5, None, True):
        with pytest.raises(ParameterError, match="epoch: expected a whole number of at least 0"):
            p.set_epoch(wrong)


def test_workers_of_pytorch_are_told_the_epoch(aligned):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    asked = {"size": (4, 24, 24), "batch_size": 2, "seed": 1}
    expected = places(npc.patches(aligned, **asked, steps=4))

    def loaded(dataset, **options):
        loader = torch.utils.data.DataLoader(dataset, batch_size=None, num_workers=2, **options)
        for epoch in range(2):
            if not options:
                dataset.set_epoch(epoch)
            yield from ((batch.step, tuple(batch.patients), batch.starts_zyx.tolist()) for batch in loader)

    assert list(loaded(npc.patches(aligned, **asked))) == expected
    assert list(loaded(npc.patches(aligned, **asked).as_iterable_dataset())) == expected
    assert list(loaded(npc.patches(aligned, **asked).as_iterable_dataset(), persistent_workers=True)) == expected


@pytest.mark.parametrize("context", ["fork", "spawn"])
@pytest.mark.parametrize("iterable", [False, True])
def test_workers_that_live_on_go_to_the_epoch_that_is_set(aligned, iterable, context):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    asked = {"size": (4, 24, 24), "batch_size": 2, "seed": 1}
    epochs = {epoch: places(npc.patches(aligned, **asked, start=2 * epoch, steps=2)) for epoch in (0, 1, 2, 5)}
    p = npc.patches(aligned, **asked)
    dataset = p.as_iterable_dataset() if iterable else p
    loader = torch.utils.data.DataLoader(
        dataset, batch_size=None, num_workers=2, persistent_workers=True, multiprocessing_context=context
    )
    for epoch in (0, 1, 5, 5, 2):
        dataset.set_epoch(epoch)
        found = [(batch.step, tuple(batch.patients), batch.starts_zyx.tolist()) for batch in loader]
        assert found == epochs[epoch]
        assert p.epoch == epoch


def test_copies_in_other_processes_go_to_the_epoch_that_is_set(aligned, tmp_path, monkeypatch):
    p = npc.patches(aligned, size=(4, 24, 24), seed=1)
    copy, own = pickle.loads(pickle.dumps(p)), deepcopy(p)
    p.set_epoch(3)
    assert (p.epoch, copy.epoch, own.epoch) == (3, 3, 0)
    assert places([copy[0]]) == places([p[0]])
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    alone = npc.patches(aligned, size=(4, 24, 24), seed=1)
    alone.set_epoch(2)
    assert (alone.epoch, pickle.loads(pickle.dumps(alone)).epoch) == (2, 2)
    alone.set_epoch(3)
    assert places(alone) == places(p)


def test_the_number_that_is_shared_leaves_no_file(aligned, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    p = npc.patches(aligned, size=(4, 24, 24), seed=1)
    assert [path.name.startswith("npczarr-epoch-") for path in tmp_path.iterdir()] == [True]
    del p
    gc.collect()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["aligned", "tiled"])
def test_a_scan_that_was_changed_meanwhile_is_an_error(request, store, tmp_path, kind):
    source = shutil.copytree(store, tmp_path / "source.zarr")
    url = shutil.copytree(request.getfixturevalue(kind), tmp_path / "training.zarr")
    p = npc.patches(url, size=SIZE, batch_size=1, steps=9, seed=1)
    npc.export_scans(source, tmp_path / "masks", format="nifti", patients=["002"], workers=0)
    for path in (tmp_path / "masks").rglob("ROI*"):
        image = nib.load(path)
        nib.save(nib.Nifti1Image(np.roll(image.get_fdata() > 0, 2, axis=0).astype(np.uint8), image.affine), path)
    npc.import_masks(source, tmp_path / "masks", workers=0)
    npc.resample_store(source, url, like="CE-T1WI", spacing=(4, 2, 2), purpose="training", workers=0)
    anew = npc.patches(url, size=SIZE, batch_size=1, steps=9, seed=1)
    for i in range(9):
        if anew[i].patients == ("002",):
            with pytest.raises(StoreError, match=r"002/.*changed while it was read; open the store again"):
                _ = p[i]
        else:
            same(p[i], anew[i])


@pytest.mark.parametrize("normalize", ["zscore", "percentile"])
def test_real_values_that_fall_as_stored_ones_rise_keep_their_contrast(tmp_path, normalize):
    real = np.random.default_rng(0).integers(0, 1000, (12, 44, 40))
    (tmp_path / "nii/1").mkdir(parents=True)
    image = nib.Nifti1Image((1000 - real).T.astype(np.int16), np.diag([-0.8, -0.8, 3, 1]))
    image.header.set_slope_inter(-1, 1000)
    nib.save(image, tmp_path / "nii/1/t1.nii")
    rules = '[layout]\nimages = "{patient}/{sequence}.nii"\n[sequences]\nT1 = {folder = "t1"}\n'
    (tmp_path / "rules.toml").write_text(rules)
    npc.convert(tmp_path / "nii", tmp_path / "n.zarr", config=tmp_path / "rules.toml", workers=0)
    assert (npc.open(tmp_path / "n.zarr").rescale_slope.values[0, 0, :12] == -1).all()
    found = npc.patches(tmp_path / "n.zarr", size=real.shape, batch_size=1, masks=False, normalize=normalize)[0]
    low, high = np.percentile(real, (0.5, 99.5))
    expected = (real - real.mean()) / real.std() if normalize == "zscore" else (real - low) / (high - low)
    np.testing.assert_allclose(found.images[0, 0], expected, atol=1e-5)
    resampled = npc.resample(npc.open(tmp_path / "n.zarr"), spacing=(3, 0.8, 0.8), normalize=normalize)
    low, high = np.percentile(real, (1, 99))
    expected = (real - real.mean()) / real.std() if normalize == "zscore" else (real - low) / (high - low)
    np.testing.assert_allclose(resampled.npc.scan("1", "T1").image, expected, atol=1e-5)
    np.testing.assert_allclose(resampled.npc.scan("1", "T1", real=True).image, real, atol=1e-3)


@pytest.mark.parametrize("open_", [npc.open, xr.open_zarr])
def test_normalizing_on_the_same_grid_leaves_the_source_as_it_is(store, open_):
    ds = open_(store).sel(sequence=["T1WI"])
    resampled = npc.resample(ds, like="T1WI", normalize="percentile")
    before = ds.image.values
    after, slope = dask.compute(ds.image.data, resampled.rescale_slope.data, resampled.image.data)[:2]
    np.testing.assert_array_equal(after, before)
    np.testing.assert_array_equal(slope, resampled.rescale_slope.values)


def test_one_mask_for_all_sequences(aligned):
    ds = npc.open(aligned)
    p = npc.patches(aligned, size=SIZE, sequences=["T2WI", "T1WI"], mask_of="CE-T1WI", steps=3, foreground=1)
    for batch in p:
        assert (batch.images.shape[1], batch.masks.shape[1]) == (2, 1)
        assert (batch.masks.reshape(2, -1) > 0).any(axis=1).all()
        for i, patient in enumerate(batch.patients):
            padded = np.pad(ds.npc.scan(patient, "CE-T1WI").mask.values, [(n, n) for n in SIZE])
            box = tuple(slice(n + a, n + a + n) for a, n in zip(batch.starts_zyx[i], SIZE, strict=True))
            np.testing.assert_array_equal(batch.masks[i, 0], padded[box])
    assert p.memory_bytes < npc.patches(aligned, size=SIZE, sequences=["T2WI", "T1WI"]).memory_bytes


def test_a_packed_store_is_refused(aligned, tmp_path):
    npc.pack(aligned, tmp_path / "packed.zarr.zip")
    with pytest.raises(ParameterError, match=r"not read from a packed store.*unpack it"):
        npc.patches(tmp_path / "packed.zarr.zip", size=8)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_lock_that_is_held_while_a_process_forks_is_free_in_it(aligned):
    p = npc.patches(aligned, size=(2, 8, 8), steps=2)
    p[0]
    with p._filler.cache._lock:
        child = os.fork()
        if not child:  # waits for ever with the parent's lock
            signal.alarm(60)
            os._exit(int(not p[1].images.size))
    assert os.waitpid(child, 0)[1] == 0


def _sum(p, i):
    return float(p[i].images.sum(dtype=np.float64))


@pytest.mark.slow
@pytest.mark.parametrize("way", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_worker_processes_give_the_same(aligned, way):
    p = npc.patches(aligned, size=SIZE, steps=4)
    here = [_sum(p, i) for i in range(4)]  # its threads are running
    with multiprocessing.get_context(way).Pool(2) as pool:
        assert pool.starmap(_sum, [(p, i) for i in range(4)]) == here


@pytest.mark.parametrize(("workers", "context"), [(0, None), (1, "fork"), (2, "spawn"), (2, "fork")])
def test_it_is_an_iterable_dataset_of_pytorch_with_the_same_batches_in_order(aligned, workers, context):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    p = npc.patches(aligned, size=(4, 24, 24), batch_size=2, seed=3, steps=5)
    dataset = p.as_iterable_dataset()
    assert isinstance(dataset, torch.utils.data.IterableDataset)
    loader = torch.utils.data.DataLoader(
        dataset, batch_size=None, num_workers=workers, multiprocessing_context=context if workers else None
    )
    loaded = list(loader)
    assert len(loaded) == 5
    p.set_epoch(0)
    for one, expected in zip(loaded, p, strict=True):
        np.testing.assert_array_equal(np.asarray(one.images), expected.images)
        assert tuple(one.patients) == tuple(expected.patients)


def test_without_pytorch_it_says_what_is_missing(aligned, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.data", None)
    monkeypatch.delitem(sys.modules, "npczarr.training.torch_dataset", raising=False)
    with pytest.raises(ParameterError, match=r"torch.* is not installed: pip install torch"):
        npc.patches(aligned, size=(4, 24, 24)).as_iterable_dataset()


def test_it_is_a_dataset_of_pytorch(aligned):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    p = npc.patches(aligned, size=SIZE, steps=4)
    loaded = list(torch.utils.data.DataLoader(p, batch_size=None, num_workers=2))
    for a, b in zip(loaded, p, strict=True):
        np.testing.assert_array_equal(a.images.numpy(), b.images)


def test_arrays_are_passed_on_without_a_copy(aligned):
    images = npc.patches(aligned, size=SIZE)[0].images
    assert np.shares_memory(np.from_dlpack(images), images)


@pytest.mark.parametrize(("subjects", "batch_size", "world"), [(20, 4, 1), (8, 3, 1), (8, 3, 2), (5, 1, 3), (2, 7, 1)])
def test_every_turn_shows_every_patient_in_another_order(subjects, batch_size, world):
    turn = -(-subjects // (batch_size * world))

    def drawn(step):
        ranks = [draws(7, step, batch_size, subjects, rank=rank, world=world) for rank in range(world)]
        return [draw for rank in ranks for draw in rank]

    turns = [[draw for step in range(i * turn, (i + 1) * turn) for draw in drawn(step)] for i in range(6)]
    orders = [[draw.subject for draw in one] for one in turns]
    for order in orders:
        assert sorted(order[:subjects]) == list(range(subjects))
        assert len(order) == turn * batch_size * world
    assert len({tuple(order) for order in orders}) > 1
    numbers = [draw.number for one in turns for draw in one]
    assert numbers == list(range(len(numbers)))  # no place is drawn twice
    assert drawn(3) == draws(7, 3, batch_size * world, subjects)


def test_every_iteration_shows_every_patient(aligned):
    p = npc.patches(aligned, size=(4, 24, 24), batch_size=2, sequences=["T1WI"])
    assert len(p.subjects) % 2  # the last batch is not full
    for _ in range(5):
        assert {label for batch in p for label in batch.patients} == set(p.subjects)


def test_foreground_is_as_frequent_as_asked(aligned):
    size = (2, 8, 8)
    always = npc.patches(aligned, size=size, steps=20, foreground=1)
    assert all((batch.masks.reshape(2, -1) > 0).any(axis=1).all() for batch in always)
    never = [(b.masks > 0).any() for b in npc.patches(aligned, size=size, steps=20, foreground=0)]
    assert np.mean(never) < 0.5
    points = [np.array([[1, 5, 5]]), np.array([[8, 20, 20]])]
    starts = np.array([place_patch(0, i, (10, 32, 32), (1, 1, 1), points, 0.25) for i in range(4000)])
    of_label = [np.mean((starts == p[0]).all(axis=1)) for p in points]
    assert np.allclose(of_label, 0.125, atol=0.02)


def test_normalized_over_the_scan(aligned):
    ds = npc.open(aligned)
    scan = ds.npc.scan("002", "T2WI").image.values
    inside = scan[scan != -32768].astype(np.float64)
    z, percentile = (
        npc.patches(aligned, size=(64, 256, 256), sequences=["T2WI"], where="patient == '002'", normalize=n)[0]
        for n in ("zscore", "percentile")
    )
    whole = tuple(slice(-a, -a + n) for a, n in zip(z.starts_zyx[0], scan.shape, strict=True))
    real = scan != -32768
    low, high = np.percentile(inside, (0.5, 99.5))
    for batch, reference in ((z, (scan - inside.mean()) / inside.std()), (percentile, (scan - low) / (high - low))):
        np.testing.assert_allclose(batch.images[0, 0][whole], np.where(real, reference, 0), atol=2e-4)


def test_what_cannot_be_sampled_is_said(store, aligned, tmp_path):
    with pytest.raises(
        ParameterError, match=r"no patient can be sampled; the first of 3, 001: .* lies on another grid"
    ):
        npc.patches(store, size=8)
    copy = shutil.copytree(aligned, tmp_path / "copy.zarr")
    import zarr

    status = zarr.open_group(copy, mode="r+")["mask_status"]
    values = status[...]
    values[1, 2] = "missing"
    status[...] = values
    with pytest.warns(UserWarning, match="1 of 3 patients are not sampled, the first 002: CE-T1WI has no mask"):
        p = npc.patches(copy, size=8)
    assert (p.subjects, list(p.left_out)) == (("001", "003"), ["002"])
    images = npc.patches(copy, size=8, masks=False)
    assert images.subjects == ("001", "002", "003")
    assert images[0].masks.shape == (2, 0, 8, 8, 8)


def test_a_mask_on_another_grid_places_no_patches(store):
    asked = {"size": 8, "sequences": ["T1WI"], "mask_of": "CE-T1WI", "masks": False}
    with pytest.raises(ParameterError, match="the mask of CE-T1WI lies on another grid than T1WI"):
        npc.patches(store, **asked)
    assert len(npc.patches(store, **asked, foreground=0).subjects) == 3  # it is not looked at


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"size": (0, 8, 8)}, "size"), ({"size": "8"}, "size"), ({"batch_size": 0}, "batch_size"),
        ({"rank": 2, "world": 2}, "rank"), ({"foreground": 2}, "foreground"), ({"normalize": "max"}, "normalize"),
        ({"sequences": []}, "sequences: expected one or more"), ({"sequences": "T1WI"}, r"write \['T1WI'\]"),
        ({"seed": -1}, "seed"), ({"seed": None}, "seed"), ({"foreground": "1"}, "foreground"),
        ({"cache_mb": -1}, "cache_mb"), ({"masks": "no"}, "masks must be True or False"),
        ({"foreground": True}, "foreground"), ({"sequences": ["T1WI", "T1WI"]}, "expected each label once"),
        ({"size": 10**6}, r"a batch would take \S+ GB, and this machine has \S+ GB"),
        ({"mask_of": "T3"}, "no sequence 'T3'"), ({"where": "ages > 3"}, "no column 'ages'"),
        ({"sequences": ["T3"]}, "no sequence 'T3'"),
    ],
    ids=str,
)  # fmt: skip
def test_wrong_arguments_are_named(aligned, wrong, message):
    with pytest.raises((ParameterError, UnknownLabelError), match=message):
        npc.patches(aligned, **{"size": 8, **wrong})


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["aligned", "tiled"])
@pytest.mark.parametrize("name", ["image", "mask"])
@pytest.mark.parametrize("damage", ["absent", "cut", "changed"])
def test_damage_is_an_error_that_names_the_scan(request, tmp_path, kind, name, damage):
    copy = shutil.copytree(request.getfixturevalue(kind), tmp_path / "copy.zarr")
    chunk = copy / name / "c/1/1/0/0/0"
    content = bytearray(chunk.read_bytes())
    if damage == "absent":
        chunk.unlink()
    elif damage == "cut":
        chunk.write_bytes(content[: len(content) // 2])
    else:
        content[len(content) // 2] ^= 255
        chunk.write_bytes(content)
    p = npc.patches(copy, size=(64, 256, 256), where="patient == '002'")
    with pytest.raises(StoreError, match=r"002/T2WI.*0/0/0"):
        _ = p[0]


def test_memory_is_bounded(tiled):
    p = npc.patches(tiled, size=SIZE, steps=30, cache_mb=1)
    held = p._filler.cache
    for batch in p:
        assert held._bytes <= held.limit == 2**20
        assert batch.images.nbytes + batch.masks.nbytes <= p.memory_bytes
    kept = list(held._held.values())
    assert sum(map(len, kept)) == held._bytes > 0
