"""Plain xarray is enough for a store, and what it writes is a store: for every program of ours the same one."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import npczarr as npc
from npczarr.model import layout

from . import plain_xarray

pytestmark = [pytest.mark.slow, pytest.mark.lowest]  # copies whole stores, many times

ROOT = Path(__file__).resolve().parents[1]
HEADING = "What plain xarray needs help with"
#: Copies of the whole cohort that the steps leave.
COPIES = ("appended", "loaded", "region", "concat", "merge")


@pytest.fixture(scope="module")
def measured(cohort, tmp_path_factory):
    """A store of two patients, measured, to which a third was added; scans of several chunks."""
    folder = tmp_path_factory.mktemp("plain")
    source = shutil.copytree(cohort / "primary_data", folder / "part")
    shutil.rmtree(source / "data/MRI-Segments/003")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "_IMAGE_CHUNK_BYTES", 80 * 80 * 2 * 4)
        patch.setattr(layout, "_MASK_CHUNK_BYTES", 80 * 80 * 8)
        patch.setattr(layout, "TABLE_SLICES", 4)
        npc.convert(source, folder / "cohort.zarr", workers=0)
    npc.measure_store(folder / "cohort.zarr", "morphology", workers=0)
    npc.convert(cohort / "primary_data", folder / "cohort.zarr", workers=0)
    return folder / "cohort.zarr"


@pytest.fixture(scope="module")
def copies(measured, tmp_path_factory):
    """What the steps of a person without npczarr gave, and the folder of the copies that they made."""
    out = tmp_path_factory.mktemp("copies")
    done = subprocess.run(
        [sys.executable, "-I", plain_xarray.__file__, str(measured), str(out)],
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), out


@pytest.mark.parametrize("step", plain_xarray.STEPS)
def test_a_person_without_npczarr(copies, step):
    errors, _ = copies
    assert errors[step] == ""


def test_the_store_has_several_chunks_a_scan(measured):
    ds = xr.open_zarr(measured)
    assert ds.image.encoding["chunks"][2] < ds.mask.encoding["chunks"][2] < ds.sizes["z"]
    assert ds.rescale_slope.encoding["chunks"][2] < ds.sizes["z"]


@pytest.mark.parametrize("name", COPIES)
def test_a_copy_is_the_same_store(measured, copies, name):
    copy = copies[1] / f"{name}.zarr"
    ours, theirs = (npc.info(url) for url in (measured, copy))
    its_own = ("store", "results", "changed", "seal", "sealed")
    assert {k: v for k, v in theirs.items() if k not in its_own} == {k: v for k, v in ours.items() if k not in its_own}
    assert ours["sealed"] == "as npczarr wrote it"
    if name == "region":  # a copy of the files, into which the same values were written
        assert (theirs["seal"], theirs["sealed"]) == (ours["seal"], ours["sealed"])
    else:
        assert theirs["sealed"].startswith("not sealed: another program wrote this store")
    assert npc.validate(copy, workers=0) == ()
    source, found = npc.open(measured), npc.open(copy).drop_vars("risk", errors="ignore")
    xr.testing.assert_equal(found.load(), source.load())


@pytest.mark.parametrize("name", COPIES)
def test_a_copy_is_measured_and_resampled_the_same(measured, copies, name):
    source, found = npc.open(measured), npc.open(copies[1] / f"{name}.zarr").drop_vars("risk", errors="ignore")
    xr.testing.assert_identical(npc.morphology(found).load(), npc.morphology(source).load())
    resampled = [npc.resample(ds, spacing=(4, 2, 2)).load() for ds in (source, found)]
    assert int(resampled[0].mask.sum()) > 0
    xr.testing.assert_equal(*resampled)
    plain = xr.open_zarr(copies[1] / f"{name}.zarr")
    scans = [ds.npc.scan("003", "T2WI").load() for ds in (plain.drop_vars("risk", errors="ignore"), source)]
    xr.testing.assert_equal(*scans)


@pytest.mark.parametrize("name", ["appended", "merge"])
def test_a_copy_is_exported_and_reported_the_same(measured, copies, name, tmp_path):
    pytest.importorskip("matplotlib")
    folders = [tmp_path / "source", tmp_path / "copy"]
    for folder, url in zip(folders, (measured, copies[1] / f"{name}.zarr"), strict=True):
        folder.mkdir()
        shutil.copytree(url, folder / "cohort.zarr")
        shutil.rmtree(folder / "cohort.zarr/morphology", ignore_errors=True)
        npc.measure_store(folder / "cohort.zarr", "morphology", workers=0)
        npc.export_scans(folder / "cohort.zarr", folder / "nifti", format="nifti", workers=0)
        npc.write_report(folder / "cohort.zarr", folder / "report.html", tables=folder / "tables", workers=0)
    source, copy = ({path.relative_to(f): path for path in sorted(f.rglob("*"))} for f in folders)
    chosen = [p for p in source if p.parts[0] in ("nifti", "tables") and source[p].is_file()]
    assert sum(path.suffix == ".gz" for path in chosen) == 2 * 9
    assert any(path.parts[0] == "tables" for path in chosen)
    for path in chosen:
        assert copy[path].read_bytes() == source[path].read_bytes(), path
    texts = [(f / "report.html").read_text().replace(str(f), "") for f in folders]
    assert texts[0] == texts[1]


def test_a_copy_without_padding_is_a_store_of_its_own(measured, copies):
    copy = copies[1] / "padding.zarr"
    assert npc.validate(copy, workers=0) == ()
    source = npc.morphology(npc.open(measured).isel(patient=[1])).load()
    xr.testing.assert_identical(npc.morphology(npc.open(copy)).load(), source)


@pytest.mark.parametrize("axis", ["z", "y", "x"])
def test_a_copy_that_cuts_into_scans_is_refused_by_name(copies, axis):
    copy = copies[1] / f"crop_{axis}.zarr"
    assert {finding.patient for finding in npc.validate(copy, workers=0)} == {"001", "002", "003"}
    for opened in (npc.open, xr.open_zarr):
        with pytest.raises(npc.ParameterError, match=f"the Dataset was cut along {axis}"):
            npc.morphology(opened(copy)).load()
        with pytest.raises(npc.ParameterError, match=f"the Dataset was cut along {axis}"):
            npc.resample(opened(copy), spacing=(4, 2, 2)).load()
    with pytest.raises(npc.StoreError, match=r"00[123]/"):
        npc.open(copy).mask.load()


def test_what_plain_xarray_cannot_see_validate_names(copies):
    copy = copies[1] / "absent.zarr"
    problems = [finding.problem for finding in npc.validate(copy, workers=0)]
    assert any("image/c/1/0/0/0/0" in problem for problem in problems)
    assert any("mask/c/1/0/0/0/0" in problem for problem in problems)
    with pytest.raises(npc.StoreError, match="002/T1WI"):
        npc.open(copy).image.isel(patient=1, sequence=0).load()


def helped(text: str) -> list[str]:
    """Lines of the list below the heading."""
    section = text.split(f"# {HEADING}\n", 1)[1].split("\n#", 1)[0]
    return [line for line in section.splitlines() if line.startswith(("* ", "- "))]


def test_readme_and_format_say_the_same_five_lines_each_with_a_step():
    readme, described = (
        helped((ROOT / name).read_text(encoding="utf-8")) for name in ("README.md", "npczarr/store/FORMAT.md")
    )
    assert readme == described
    steps = [name for name in plain_xarray.STEPS if name.startswith("help_")]
    assert [name.split("_")[1] for name in steps] == [str(i) for i in range(1, len(readme) + 1)]
    words = ("groupby", "safe_chunks=False", "where", "affine", "validate")
    assert all(word in line for word, line in zip(words, readme, strict=True))
    assert np.unique(readme).size == 5
