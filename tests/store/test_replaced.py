"""A reader that keeps a store open while scans are replaced is told so, and what it gets belongs together."""

import shutil
import threading
import time

import numpy as np
import pydicom
import pytest

import npczarr as npc
from npczarr.errors import StoreError
from npczarr.store.cohort import StoredCohort
from npczarr.store.location import locate
from tests.store.small import part

WINDOW = slice(1, 3), slice(2, 6), slice(1, 5)


def edited(source, folder, change):
    """A copy of the source of which one series was changed."""
    other = part(source, folder, "001", "002", "003")
    for path in (other / "data/MRI-Segments/002/T2WI").glob("*.dcm"):
        header = pydicom.dcmread(path)
        change(header)
        header.save_as(path)
    return other


def wider(header):
    """The same voxels, further apart."""
    header.PixelSpacing = [2 * float(n) for n in header.PixelSpacing]


def brighter(header):
    header.PixelData = (header.pixel_array + 1).astype(header.pixel_array.dtype).tobytes()


def steeper(header):
    """The same voxels, which mean other values."""
    header.RescaleSlope, header.RescaleIntercept = 3, 7


CHANGES = {"spacing": wider, "voxels": brighter, "slope": steeper}


@pytest.mark.slow
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", ["image", "mask"])
def test_a_scan_that_was_replaced_is_refused_and_every_other_is_read(source, copy, tmp_path, change, name):
    cohort, dataset = StoredCohort(locate(copy)), npc.open(copy, dask=False)
    scans = list(cohort)
    expected = [(scan.image().copy(), scan.mask().copy()) for scan in scans if scan.stored]
    npc.convert(edited(source, tmp_path / "source", CHANGES[change]), copy, workers=0)
    for window in (None, WINDOW):
        for scan, values in zip((s for s in scans if s.stored), expected, strict=True):
            known = values[name == "mask"]
            if scan.label == "002/T2WI":
                with pytest.raises(StoreError, match=r"002/T2WI .*changed while it was read; open the store again"):
                    getattr(scan, name)(window)
            else:
                found = getattr(scan, name)(window)
                assert np.array_equal(found, known if window is None else known[window])
    with pytest.raises(StoreError, match="changed while it was read"):
        dataset[name].sel(patient="002", sequence="T2WI")[WINDOW].load()
    again = npc.open(copy).npc.scan("002", "T2WI").load()
    assert again.image.shape == next(s for s in scans if s.label == "002/T2WI").shape_zyx


@pytest.mark.slow
def test_what_is_appended_disturbs_no_reader(source, tmp_path):
    store = tmp_path / "a.zarr"
    npc.convert(part(source, tmp_path / "some", "001", "002"), store, workers=0)
    cohort = StoredCohort(locate(store))
    scan = cohort.scan("002", "T1WI")
    before = scan.image(WINDOW).copy()
    npc.convert(source, store, workers=0)
    assert np.array_equal(scan.image(WINDOW), before)


@pytest.mark.slow
def test_reading_while_scans_are_replaced_again_and_again_gives_no_mixture(source, copy, tmp_path):
    """Every answer is the scan of one source, with the spacing of that source; or an error that says what happened."""
    sources = {"a": source, "b": edited(source, tmp_path / "b", lambda h: (wider(h), brighter(h)))}
    truth = {}
    for key, one in sources.items():
        npc.convert(one, tmp_path / f"from-{key}.zarr", workers=0)
        scan = StoredCohort(locate(tmp_path / f"from-{key}.zarr")).scan("002", "T2WI")
        truth[key] = scan.image()[WINDOW].copy(), scan.spacing_zyx_mm
    shutil.rmtree(copy)
    shutil.copytree(tmp_path / "from-a.zarr", copy)
    stop = threading.Event()

    def write():
        for i in range(6):
            npc.convert(sources["ba"[i % 2]], copy, workers=0)
        stop.set()

    writer = threading.Thread(target=write)
    writer.start()
    answers, errors, mixed = 0, 0, []
    while not stop.is_set():
        try:
            scan = StoredCohort(locate(copy)).scan("002", "T2WI")
            if not scan.stored:
                continue
            time.sleep(0.01)
            voxels, spacing = scan.image(WINDOW), scan.spacing_zyx_mm
        except StoreError:
            errors += 1
            continue
        answers += 1
        if not any(np.array_equal(voxels, v) and np.allclose(spacing, s) for v, s in truth.values()):
            mixed.append((voxels, spacing))
    writer.join()
    assert mixed == []
    assert answers > 0
