"""Stores that plain xarray has rewritten in every way a person would: the same numbers, or one clear error."""

import shutil
import warnings

import numpy as np
import pytest
import xarray as xr
from zarr.codecs import BloscCodec, BytesCodec, GzipCodec, ZstdCodec
from zarr.core.chunk_key_encodings import ChunkKeyEncodingParams

import npczarr as npc
from npczarr.errors import ParameterError, StoreError
from tests.store.small import by_xarray, objects, outcome, part, places, snapshot

pytestmark = pytest.mark.slow  # copies whole stores, many times

VOXELS = ("image", "mask")
DOTS = ChunkKeyEncodingParams(name="default", separator=".")
SLASHES = ChunkKeyEncodingParams(name="v2", separator="/")


def encoded(*, only=None, **changes):
    """Rewrite image and mask with another encoding, everything else as it was."""

    def rewrite(dataset, url):
        types = {"image": {"dtype": "int16", "_FillValue": -32768}, "mask": {"dtype": "uint8"}}
        encoding = {name: types[name] | (changes if name == (only or name) else {}) for name in VOXELS}
        encoding["mask"].pop("_FillValue", None)
        encoding["mask"].setdefault("chunks", changes.get("chunks"))
        return by_xarray(dataset.drop_encoding(), url, encoding=encoding)

    return rewrite


def appended(dataset, url):
    by_xarray(dataset.isel(patient=[0]), url)
    return by_xarray(dataset.isel(patient=[1, 2]), url, append_dim="patient")


def region(dataset, url):
    """Written without voxels, and these later, a patient at a time."""
    dataset = dataset.drop_encoding()
    lazy = dataset.assign({name: dataset[name].chunk(patient=1) for name in VOXELS})
    by_xarray(lazy, url, compute=False)
    for p in range(dataset.sizes["patient"]):
        there = {"patient": slice(p, p + 1)}
        one = lazy[list(VOXELS)].isel(there).reset_coords(drop=True)
        by_xarray(one.drop_vars(list(one.coords)), url, region=there)
    return url


WAYS = {
    "as it is": by_xarray,
    "without its encoding": lambda ds, url: by_xarray(ds.drop_encoding(), url),
    "chunks over patients": encoded(chunks=(2, 3, 2, 5, 9)),
    "sharded": encoded(chunks=(1, 1, 2, 4, 3), shards=(1, 3, 6, 8, 9)),
    "gzip, one chunk of all": encoded(chunks=(3, 3, 6, 8, 9), compressors=[GzipCodec(level=1)]),
    "zstd, bit shuffle, keys as in Zarr 2": encoded(
        compressors=[BloscCodec(cname="zstd", shuffle="bitshuffle")], chunk_key_encoding=SLASHES
    ),
    "big endian, dots in keys": encoded(
        serializer=BytesCodec(endian="big"), compressors=[ZstdCodec()], chunk_key_encoding=DOTS
    ),
    "another fill value of the array": encoded(fill_value=5),
    "floats, a scan in a chunk": encoded(only="image", dtype="float32", _FillValue=np.nan, chunks=(1, 1, 6, 8, 9)),
    "another fill value, uncompressed": encoded(_FillValue=-1000, compressors=None),
    "appended": appended,
    "region by region": region,
    "of the Dataset by npc.open": lambda ds, url: by_xarray(ds, url),
}

#: The ways of which files and a report are made too: the voxels of the others come from the same readers.
TO_THE_END = ("as it is", "sharded", "floats, a scan in a chunk", "another fill value of the array", "appended")


@pytest.fixture(scope="module")
def expected(pristine, tmp_path_factory):
    folder = tmp_path_factory.mktemp("expected")
    url = shutil.copytree(pristine, folder / "a.zarr")  # measuring adds to a store
    return {**numbers(url, folder), **outputs(url, folder)}


@pytest.fixture(scope="module", params=WAYS)
def way(request):
    return request.param


@pytest.fixture(scope="module")
def foreign(way, pristine, tmp_path_factory):
    folder = tmp_path_factory.mktemp("foreign")
    lazy = way == "of the Dataset by npc.open"
    dataset = npc.open(pristine) if lazy else xr.open_zarr(pristine).load()
    return WAYS[way](dataset, folder / "a.zarr")


def outputs(url, folder):
    """Files and a report of a store; the figures of the report are made, and not drawn."""
    npc.export_scans(url, folder / "nii", format="nifti", workers=0)
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        warnings.simplefilter("ignore")  # of means of nothing, where a cohort is as small as this
        patch.setattr("npczarr.report.blocks.encoded", lambda *_, **__: b"")
        page = npc.write_report(url, folder / "report.html", workers=0).read_text()
    files = sorted((folder / "nii").rglob("*.nii.gz"))
    return {
        "report": len(page.split("<tr")),
        "files": {str(path.relative_to(folder)): path.read_bytes() for path in files},
    }


def numbers(url, folder):
    """What every reading verb makes of a store, but for its outputs."""
    dataset = npc.open(url)
    plain = xr.open_zarr(url)
    npc.resample_store(url, folder / "r.zarr", spacing=(2, 1, 1), workers=0)
    resampled = npc.open(folder / "r.zarr")
    summary = npc.info(url)
    return {
        "voxels": {name: dataset[name].load() for name in VOXELS},
        "tables": dataset.drop_vars(VOXELS).load(),
        "scans": [d.npc.scan(p, s).load().drop_encoding() for d in (dataset, plain) for _, p, s in places(dataset)],
        "info": {key: value for key, value in summary.items() if key in ("patients", "scans", "masks", "ranges")},
        "validate": npc.validate(url, workers=0),
        "morphology": [npc.morphology(d).load() for d in (dataset, plain)],
        "measured": npc.measure_store(url, "morphology")[0],
        "lazy": npc.resample(plain, spacing=(2, 1, 1)).image.load(),
        "resampled": resampled[["image", "mask", "image_digest", "mask_digest", "message"]].load(),
    }


def alike(a, b, name):
    if isinstance(a, dict):
        assert a.keys() == b.keys(), name
        for key in a:
            alike(a[key], b[key], f"{name} {key}")
    elif isinstance(a, list):
        assert len(a) == len(b), name
        for i, (one, other) in enumerate(zip(a, b, strict=True)):
            alike(one, other, f"{name} {i}")
    elif isinstance(a, xr.Dataset | xr.DataArray):
        try:
            xr.testing.assert_equal(a, b)
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from error
    else:
        assert a == b, name


def test_every_reading_verb_gives_the_same(way, foreign, expected, tmp_path):
    found = numbers(foreign, tmp_path)
    if way in TO_THE_END:
        found |= outputs(foreign, tmp_path)
        assert found["files"]
    assert found["validate"] == ()
    alike(found, {name: expected[name] for name in found}, "")
    floats = npc.open(foreign).image.encoding["dtype"] == np.float32
    assert {scan.image.dtype.name for scan in found["scans"]} <= ({"int16", "float32"} if floats else {"int16"})


def test_every_absent_object_is_an_error_or_changes_nothing(foreign, truth):
    """Also where an object holds many scans, or its name is of another form."""
    wrong = named = 0
    for name in VOXELS:
        found = objects(foreign, name) or [
            str(p.relative_to(foreign)) for p in (foreign / name).rglob("*") if p.is_file() and p.name != "zarr.json"
        ]
        for key in found[:: max(1, len(found) // 6)]:
            (foreign / key).rename(foreign / "away")
            dataset = npc.open(foreign)
            for place, patient, sequence in places(truth):
                one = dataset[name][place]
                for part_ in (one, one[:2, 3:6, 1:4]):
                    expected_ = truth[name][place] if part_ is one else truth[name][place][:2, 3:6, 1:4]
                    found_, error = outcome(lambda part_=part_: part_.values)
                    if error is None:
                        wrong += not np.array_equal(found_, expected_.values, equal_nan=True)
                    else:
                        # xarray leaves out empty chunks: which of those that are absent did harm, nobody can know
                        wrong += not (f"{patient}/{sequence}" in str(error) and f", the first {name}/" in str(error))
                        named += 1
            (foreign / "away").rename(foreign / key)
    assert wrong == 0
    assert named > 0


@pytest.mark.parametrize(
    "selection",
    [
        {"patient": [1]},
        {"patient": [2, 0]},
        {"sequence": [1]},
        {"sequence": [2, 0]},
        {"patient": slice(1, 3), "sequence": slice(0, 2)},
    ],
    ids=str,
)
def test_a_copy_of_a_selection_is_a_store(pristine, truth, expected, tmp_path, selection):
    url = by_xarray(xr.open_zarr(pristine).isel(selection), tmp_path / "a.zarr")
    dataset = npc.open(url)
    xr.testing.assert_equal(dataset.load(), truth.isel(selection))
    assert npc.validate(url, workers=0) == ()
    xr.testing.assert_equal(npc.measure_store(url, "morphology")[0].drop_vars("input_digest"),
                            expected["measured"].isel(selection).drop_vars("input_digest"))  # fmt: skip
    npc.resample_store(url, tmp_path / "r.zarr", spacing=(2, 1, 1), workers=0)
    chosen = expected["resampled"].isel(selection)
    xr.testing.assert_equal(npc.open(tmp_path / "r.zarr").image_digest.drop_vars(["z_mm"], errors="ignore").load()
                            .reset_coords(drop=True), chosen.image_digest.reset_coords(drop=True))  # fmt: skip
    npc.info(url)


@pytest.mark.parametrize("lost", ["image", "mask", "status", "shape", "patient"])
def test_a_copy_without_what_a_store_needs_is_one_clear_error(pristine, tmp_path, lost):
    url = by_xarray(xr.open_zarr(pristine).load().drop_vars(lost), tmp_path / "a.zarr")
    for act in (npc.open, npc.info, lambda u: npc.measure_store(u, "morphology")):
        with pytest.raises((StoreError, ParameterError), match=lost):
            act(url)
    assert [f for f in npc.validate(url, workers=0) if lost in f.problem]


@pytest.mark.parametrize("made", [w for w in WAYS if w not in ("appended", "region by region")])
def test_a_copy_that_is_converted_into_stays_right_or_is_refused_whole(source, pristine, truth, tmp_path, made):
    """A scan that changed is written into a copy as into the store, or nothing of the copy changes."""
    url = WAYS[made](xr.open_zarr(pristine).load(), tmp_path / "a.zarr")
    changed = part(source, tmp_path / "source", "001", "002", "003")
    file = sorted((changed / "data/MRI-Segments/002/T2WI").glob("*.dcm"))[1]
    content = bytearray(file.read_bytes())
    content[-20] ^= 1
    file.write_bytes(content)
    before = snapshot(url)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result, error = outcome(lambda: npc.convert(changed, url, workers=0))
    if error is not None:
        assert "encoded by another program" in str(error)
        assert snapshot(url) == before
        return
    assert result.action.sel(patient="002", sequence="T2WI") == "replaced"
    assert (result.action == "kept").sum() == 8
    assert npc.validate(url, workers=0, against=changed) == ()
    new, old = npc.open(url).load(), truth
    assert (new.image != old.image).where(np.isfinite(old.image), False).sum() == 1
    assert (np.isfinite(new.image) == np.isfinite(old.image)).all()


def test_tables_in_chunks_of_different_lengths_are_written_each_in_its_own(cohort, tmp_path):
    source, url = cohort / "primary_data", tmp_path / "a.zarr"
    npc.convert(source, tmp_path / "first.zarr", workers=0)
    ds = xr.open_zarr(tmp_path / "first.zarr", chunks=None)
    for i, (name, variable) in enumerate(ds.variables.items()):
        if name not in ("image", "mask") and variable.dims[:1] == ("patient",):
            variable.encoding["chunks"] = (2 + i % 2, *variable.encoding["chunks"][1:])
            variable.encoding.pop("preferred_chunks", None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of zarr, on every write
        ds.to_zarr(url, zarr_format=3)
    result = npc.convert(source, url, rewrite=["003"], workers=0)
    assert set(result.status.values.ravel()) == {"ok"}
    before, after = (npc.open(one).load() for one in (tmp_path / "first.zarr", url))
    xr.testing.assert_equal(before, after)
