"""Exports that are killed, or run at once: no file of another state is kept, and nothing of a dead run stays."""

import json
import shutil
import subprocess
import sys

import pytest

import npczarr as npc
from npczarr.errors import ParameterError
from npczarr.export import nifti
from npczarr.export.cohort import FORMATS, export_scans
from npczarr.export.manifest import Manifest

pytestmark = pytest.mark.slow  # exports a cohort, many times

FOREIGN = ("002/ROI-T2.nii.gz", "002/.0123abcd-mine.nii.gz", "002/.0123abcg-T1WI.nii.gz", "001/0123abcd-T1WI.nii.gz")


@pytest.fixture(scope="module")
def without_masks(cohort, tmp_path_factory):
    """The store of the same cohort before anyone outlined a tumor on T1WI."""
    folder = tmp_path_factory.mktemp("without_masks")
    source = shutil.copytree(cohort / "primary_data", folder / "source")
    for path in source.rglob("ROI-T1.nii"):
        path.unlink()
    npc.convert(source, folder / "s.zarr", workers=0)
    return folder / "s.zarr"


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """A store in which patient 001 has other images and masks."""
    folder = tmp_path_factory.mktemp("other")
    npc.make_cohort(folder / "cohort", patients=1, seed=1, workers=0)
    npc.convert(folder / "cohort/primary_data", folder / "s.zarr", workers=0)
    return folder / "s.zarr"


def files(out):
    """Every file of an export by its name; of DICOM objects, which hold the time, and of OME-Zarr the name alone."""
    return {
        path.relative_to(out).as_posix(): path.suffix == ".dcm" or path.read_bytes()
        for path in out.rglob("*")
        if path.is_file()
    }


def killed_at(store, out, n, **options):
    """Export, and return a copy of the folder as it was after n scans: no more is there when a process is killed."""
    killed = out.with_name(f"{out.name}-killed")
    export_scans(store, out, on_progress=lambda now: now.done == n and shutil.copytree(out, killed), **options)
    return killed


@pytest.mark.parametrize("format", FORMATS)
def test_what_a_killed_export_left_of_another_state_is_not_kept(store, other, tmp_path, format):
    out, options = tmp_path / "out", {"format": format, "patients": ["001"]}
    export_scans(store, out, **options)
    before = files(out)
    killed = killed_at(other, out, 2, **options)
    assert [one.status for one in export_scans(store, killed, **options)] == ["written"] * 3
    assert files(killed) == before


def test_nor_is_a_scan_of_which_one_file_of_two_was_written(store, other, tmp_path, monkeypatch):
    out, killed = tmp_path / "out", tmp_path / "killed"
    options = {"format": "nifti", "patients": ["001"]}
    export_scans(store, out, **options)
    before = files(out)

    def write(path, content):
        if path.name == "ROI-T1.nii.gz":
            shutil.copytree(out, killed)
        write_whole(path, content)

    write_whole = nifti.write_whole
    monkeypatch.setattr(nifti, "write_whole", write)
    export_scans(other, out, **options)
    monkeypatch.undo()
    assert files(killed)["001/T1WI.nii.gz"] != before["001/T1WI.nii.gz"]
    export_scans(store, killed, **options)
    assert files(killed) == before


@pytest.mark.parametrize("format", ["nifti", "tiff"])
def test_files_that_a_killed_export_wrote_and_the_next_does_not_are_deleted(store, without_masks, tmp_path, format):
    options = {"format": format, "patients": ["001"]}
    killed = killed_at(store, tmp_path / "out", 3, **options)
    export_scans(without_masks, killed, **options)
    export_scans(without_masks, tmp_path / "fresh", **options)
    assert files(killed) == files(tmp_path / "fresh")


def test_a_file_of_somebody_else_that_a_killed_export_did_not_reach_stays(store, without_masks, tmp_path):
    options = {"format": "nifti", "patients": ["001"]}
    export_scans(without_masks, tmp_path / "out", **options)
    (tmp_path / "out/001/ROI-T1.nii.gz").write_bytes(b"drawn by hand")
    killed = killed_at(store, tmp_path / "out", 0, **options)
    export_scans(without_masks, killed, **options)
    assert (killed / "001/ROI-T1.nii.gz").read_bytes() == b"drawn by hand"


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("cohort_", ["store", "raters"])
def test_files_are_recorded_before_they_are_written(request, tmp_path, cohort_, format):
    def recorded(folder):
        return {key: one["files"] for key, one in json.loads((folder / "export.json").read_text())["scans"].items()}

    begun = killed_at(request.getfixturevalue(cohort_), tmp_path / "out", 0, format=format)
    assert recorded(begun) == recorded(tmp_path / "out")
    assert list(files(begun)) == ["export.json"]


@pytest.mark.parametrize("format", ["nifti", "ome-zarr"])
def test_drafts_of_a_dead_run_go_and_files_of_others_stay(store, tmp_path, format):
    ending = {"nifti": "nii.gz", "ome-zarr": "ome.zarr"}[format]
    killed = killed_at(store, tmp_path / "out", 0, format=format)
    drafts = [killed / f"001/.4a764bf9-T1WI.{ending}", killed / ".4a764bf9-export.json"]
    foreign = [killed / name for name in FOREIGN]
    for path in (*drafts, *foreign):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"half")
    if format == "ome-zarr":
        drafts[0].unlink()
        (drafts[0] / "0").mkdir(parents=True)
    export_scans(store, killed, format=format)
    assert not any(path.exists() for path in drafts)
    assert all(path.read_bytes() == b"half" for path in foreign)
    export_scans(store, killed, format=format)
    assert all(path.read_bytes() == b"half" for path in foreign)


def test_a_folder_of_a_run_that_was_killed_at_its_first_write_can_be_used(store, tmp_path):
    (tmp_path / ".4a764bf9-export.json").write_text("{")
    (one,) = export_scans(store, tmp_path, format="png", patients=["001"], sequences=["T1WI"])
    assert one.status == "written"
    assert {path.name for path in tmp_path.iterdir()} == {"001", "export.json"}


@pytest.mark.parametrize("format", ["nifti", "nnunet"])
def test_a_second_export_into_a_folder_is_refused_while_the_first_runs(store, other, tmp_path, format):
    pytest.importorskip("fcntl")
    out, options = tmp_path / "out", {"format": format, "sequences": ["T1WI"]}
    refused = []

    def meanwhile(progress):
        with pytest.raises(ParameterError, match="another run is writing there; wait until it has ended") as caught:
            export_scans(other, out, **options)
        refused.append(caught.value)

    first = export_scans(store, out, on_progress=meanwhile, **options)
    assert len(refused) > 1
    again = export_scans(store, out, **options)
    assert [one.status.replace("kept", "written") for one in again] == [one.status for one in first]
    export_scans(store, tmp_path / "fresh", **options)
    assert files(out) == files(tmp_path / "fresh")


def test_a_process_that_was_killed_keeps_nobody_out(store, tmp_path):
    pytest.importorskip("fcntl")
    code = (
        "import sys\nfrom pathlib import Path\nfrom npczarr.outputs import hold_folder\n"
        "with hold_folder(Path(sys.argv[1])):\n    print('held', flush=True)\n    sys.stdin.read()\n"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    options = {"format": "png", "patients": ["001"], "sequences": ["T1WI"]}
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], **pipes) as run:
        assert run.stdout.readline() == b"held\n"
        with pytest.raises(ParameterError, match="another run is writing there"):
            export_scans(store, tmp_path, **options)
        run.kill()
        run.wait()
    assert [one.status for one in export_scans(store, tmp_path, **options)] == ["written"]


def test_two_sequences_whose_masks_have_one_name_are_refused(tmp_path):
    with Manifest.open(tmp_path, {}) as manifest:
        manifest.begin({"001/T1WI": ["001/T1WI.nii.gz", "001/ROI-T1.nii.gz"]})
        manifest.add("001/T1WI", "a", ["001/T1WI.nii.gz", "001/ROI-T1.nii.gz"])
        with pytest.raises(ParameterError, match=r"001/ROI-T1\.nii\.gz would be a file of 001/T1WI and of 001/T1"):
            manifest.begin({"001/T1": ["001/T1.nii.gz", "001/ROI-T1.nii.gz"]})
        with pytest.raises(ParameterError, match=r"would be a file of 002/T1 and of 002/T1WI"):
            manifest.begin({"002/T1": ["002/ROI-T1.nii.gz"], "002/T1WI": ["002/ROI-T1.nii.gz"]})
        manifest.begin({"001/T1WI": ["001/T1WI.nii.gz", "001/ROI-T1.nii.gz"]})
    assert json.loads((tmp_path / "export.json").read_bytes())["scans"].keys() == {"001/T1WI"}
