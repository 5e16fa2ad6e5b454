"""A cohort in which one scan of every bad kind lies beside good ones: the good ones convert, the bad ones are named."""

import gzip
import os
import shutil
import zlib
from pathlib import Path

import numpy as np
import pydicom
import pytest

import npczarr as npc
from tests.builders import blob, nifti_image, oblique_grid, write_cohort
from tests.hostile.corpus import CSV, dicom_slices

pytestmark = pytest.mark.slow  # converts a cohort of every fault

LIMITS = "[limits]\nscan_gb = 0.05\nfiles_gb = 0.1\nscan_seconds = 30\n"


def slices(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.dcm"))


def header(folder: Path, **values: object) -> None:
    for path in slices(folder):
        dataset = pydicom.dcmread(path)
        for keyword, value in values.items():
            setattr(dataset, keyword, value)
        dataset.save_as(path)


def cut(folder):
    path = slices(folder)[2]
    path.write_bytes(path.read_bytes()[:-30])


def noise_in_the_middle(folder):
    path = slices(folder)[1]
    content = path.read_bytes()
    at = content.index(b"\x20\x00\x32\x00DS")
    path.write_bytes(content[:at] + b"\xff" * 40 + content[at + 40 :])


def deflate_bomb(folder):
    content = dicom_slices()["deflated"][1]
    head = content[: content.index(b"1.2.840.10008.1.2.1.99") + 22]
    pack = zlib.compressobj(9, zlib.DEFLATED, -15)
    slices(folder)[0].write_bytes(head + pack.compress(bytes(60_000_000)) + pack.flush())


def deep_sequences(folder):
    content = slices(folder)[0].read_bytes()
    at = content.index(b"\x08\x00\x60\x00CS")
    level = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    slices(folder)[0].write_bytes(content[:at] + level * 5000)


def pickled(folder):
    for path in slices(folder):
        path.write_bytes(b"cos\nsystem\n(S'false'\ntR.")


def long(rows, columns):
    def stretch(folder):
        header(folder, Rows=rows, Columns=columns, PixelData=bytes(2 * rows * columns))

    return stretch


BAD_SCANS = {
    "cut short": (cut, "file 000002.dcm"),
    "damaged header": (noise_in_the_middle, ""),
    "60 000 x 60 000": (lambda f: header(f, Rows=60000, Columns=60000), "over the limit of 0.05 GB"),
    "1 x 60 000": (long(1, 60000), "over the limit of 10000 in one direction"),
    "60 000 x 1": (long(60000, 1), "over the limit of 10000 in one direction"),
    "2 147 483 647 frames": (lambda f: header(f, NumberOfFrames=2**31 - 1), "2147483647 frames in one file"),
    "deflate bomb": (deflate_bomb, "packed data grows beyond the limit"),
    "deep sequences": (deep_sequences, "RecursionError"),
    "loop of links": (lambda f: (f / "x").symlink_to("x"), "is a link to itself"),
    "pipe": (lambda f: os.mkfifo(f / "x"), "is a pipe or a device"),
    "pickles": (pickled, "no image in the folder, which holds"),
}


def nifti(edit):
    content = bytearray(nifti_image(blob(oblique_grid((4, 8, 9))), oblique_grid((4, 8, 9))).to_bytes())
    edit(content)
    return bytes(content)


def dims(*sizes):
    return lambda content: content.__setitem__(slice(42, 48), np.array(sizes, "<i2").tobytes())


BAD_MASKS = {
    "cut": (nifti(lambda content: content.__delitem__(slice(400, None))), "it ends after"),
    "2^40 voxels": (nifti(dims(32767, 32767, 1024)), "it ends after"),
    "2^40 voxels, gzipped": (gzip.compress(nifti(dims(32767, 32767, 1024))), "over the limit of 0.05 GB"),
    "gzip bomb": (gzip.compress(nifti(lambda content: None) + bytes(60_000_000)), "packed data grows beyond"),
    "text": ("表".encode("gb18030") * 200, "not a whole NIfTI file"),
}


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """Patients 101… with a bad T1WI each, 201… with a bad mask of T1WI, and 001 with nothing bad."""
    root = tmp_path_factory.mktemp("hostile") / "cohort"
    bad = [str(101 + i) for i in range(len(BAD_SCANS))] + [str(201 + i) for i in range(len(BAD_MASKS))]
    written = write_cohort(root, patients=("001", *bad))
    base = root / "data" / "MRI-Segments"
    for patient, (spoil, _) in zip(bad, BAD_SCANS.values(), strict=False):
        spoil(base / patient / "T1WI")
    for patient, (content, _) in zip(bad[len(BAD_SCANS) :], BAD_MASKS.values(), strict=True):
        (base / patient / "ROI-T1.nii").write_bytes(content)
    (root / "loop").symlink_to(root)
    (base / bad[-1] / "T2WI" / "x").symlink_to(".")
    (root / "limits.toml").write_text(LIMITS)
    return root, written


@pytest.fixture(scope="module")
def converted(cohort, tmp_path_factory):
    root, _ = cohort
    folder = tmp_path_factory.mktemp("store")
    (folder / "beside").write_text("untouched")
    result = npc.convert(root, folder / "store" / "a.zarr", config=root / "limits.toml", workers=0)
    return result, folder


def test_every_good_scan_is_in_the_store_voxel_for_voxel(cohort, converted):
    _, written = cohort
    _, folder = converted
    ds = npc.open(folder / "store" / "a.zarr")
    good = [key for key in written if not (key[0].startswith("1") and key[1] == "T1WI")]
    assert len(good) == len(written) - len(BAD_SCANS)
    for patient, sequence in good:
        image, mask, _ = written[patient, sequence]
        scan = ds.npc.scan(patient, sequence)
        np.testing.assert_array_equal(scan.image, image)
        if not (patient.startswith("2") and sequence == "T1WI"):
            np.testing.assert_array_equal(scan.mask, mask)
    assert npc.validate(folder / "store" / "a.zarr", workers=0) == ()


@pytest.mark.parametrize("i", range(len(BAD_SCANS)), ids=list(BAD_SCANS))
def test_every_bad_scan_is_refused_with_its_reason(converted, i):
    one = converted[0].sel(patient=str(101 + i), sequence="T1WI")
    assert one.status == "refused"
    assert list(BAD_SCANS.values())[i][1] in str(one.message.values)
    assert "not foreseen" not in str(one.message.values)


@pytest.mark.parametrize("i", range(len(BAD_MASKS)), ids=list(BAD_MASKS))
def test_every_bad_mask_is_refused_and_its_image_kept(converted, i):
    one = converted[0].sel(patient=str(201 + i), sequence="T1WI")
    assert (one.status, one.mask_status) == ("warning", "refused")
    assert list(BAD_MASKS.values())[i][1] in str(one.message.values)
    assert "not foreseen" not in str(one.message.values)


def test_nothing_is_written_beside_the_store(converted, cohort):
    _, folder = converted
    assert sorted(path.name for path in folder.iterdir()) == ["beside", "store"]
    assert [path.name for path in (folder / "store").iterdir()] == ["a.zarr"]
    assert (folder / "beside").read_text() == "untouched"
    assert not (cohort[0].parent / "evil").exists()


def test_one_absurd_header_does_not_bend_the_layout_of_the_others(cohort, converted, tmp_path):
    """A store with the bad scans has chunks as the good ones need them."""
    root, _ = cohort
    shutil.copytree(root / "data" / "MRI-Segments" / "001", tmp_path / "source" / "001")
    npc.convert(tmp_path / "source", tmp_path / "b.zarr", workers=0)
    layouts = [
        npc.open(store).image.encoding["chunks"][2:]
        for store in (converted[1] / "store" / "a.zarr", tmp_path / "b.zarr")
    ]
    assert layouts[0][1:] == layouts[1][1:]  # rows and columns
    deepest = int(npc.open(converted[1] / "store" / "a.zarr")["shape"].sel(axis="z").max())
    assert layouts[0][0] <= deepest


def test_a_scan_that_becomes_absurd_stays_and_leaves_no_voxels_where_it_is_asked_for(tmp_path):
    write_cohort(tmp_path / "source", patients=("001",), tables={})
    npc.convert(tmp_path / "source", tmp_path / "a.zarr", workers=0)
    long(60000, 1)(next((tmp_path / "source").rglob("T1WI")))
    before = npc.open(tmp_path / "a.zarr").load()
    again = npc.convert(tmp_path / "source", tmp_path / "a.zarr", workers=0)
    assert again.status.values.tolist() == [["warning", "ok", "ok"]]
    assert again.attrs["source_worse"] == ["001/T1WI"]
    assert npc.open(tmp_path / "a.zarr").load().identical(before)
    again = npc.convert(tmp_path / "source", tmp_path / "a.zarr", rewrite=["001/T1WI"], workers=0)
    assert again.status.values.tolist() == [["refused", "ok", "ok"]]
    assert npc.validate(tmp_path / "a.zarr", workers=0) == ()
    assert not list((tmp_path / "a.zarr").glob("image/c/0/0/*/*/*"))


TABLES = {
    "columns that name files of the store": b"ID,zarr.json,c,.zgroup,status/lease.json\n1,2,3,4,5\n",
    "columns that point outside": b'ID,../../evil,/tmp/evil,..,"a/b",\\evil,con\n1,2,3,4,5,6,7\n',
    "names too long for a file system": b"ID," + b"x" * 3000 + b"\n1,2\n",
    "names with control characters": b"ID,a\0b,c\x1b[31md\n1,2,3\n",
    "values with control characters": b"ID,note\n1,\x1b[31m\0\n",
    "line ends of an old Mac": CSV.replace("\r\n", "\r").encode(),
    "mixed line ends": CSV.encode() + b"\r1,2\r3,4",
    "a field of 200 kB": b"ID,a\n1," + b"x" * 200_000 + b"\n",
    "half a UTF-16": CSV.encode("utf-16")[:-1],
    "an open quote": b'ID,a\n1,"' + b"x" * 1000,
    "zeros": bytes(1000),
    "5000 columns": b"ID," + b",".join(b"c%d" % i for i in range(5000)),
    "numbers beyond all numbers": b"ID,a,b\n1,1e999,-1e999\n1e400,2,3\n",
}


@pytest.mark.parametrize("name", TABLES)
def test_no_table_costs_a_scan(tmp_path, name):
    write_cohort(tmp_path / "source", patients=("001",), tables={})
    (tmp_path / "source" / "info.csv").write_bytes(TABLES[name])
    store = tmp_path / "out" / "a.zarr"
    result = npc.convert(tmp_path / "source", store, workers=0)
    assert (result.status == "ok").all()
    assert npc.validate(store, workers=0) == ()
    assert npc.open(store).image.shape[:2] == (1, 3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "source"]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.zarr"]
