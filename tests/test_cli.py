"""The command line as a person or a script meets it: exit codes, what is printed where, and what is not imported."""

import importlib.metadata
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nibabel
import numpy as np
import pytest
import typer
import xarray as xr

import npczarr as npc
import npczarr.cli
from npczarr.cli.app import app
from npczarr.cli.options import measures_file
from npczarr.cli.show_measures import as_json, ranges
from npczarr.graphs.summarize import summary
from npczarr.store.holder import LEASE_KEY
from npczarr.store.lease import hold_lease
from npczarr.store.location import locate

from .strict import STRICT_WARNINGS

COMMANDS = sorted(typer.main.get_command(app).commands)
SCAN = "data/MRI-Segments/002/T2WI"
TO_LOCAL_FILES = (
    ("export", "{store}", "--format", "png"),
    ("deidentify", "{source}"),
    ("phantom",),
    ("download",),
    ("report", "{store}", "-o"),
    ("morphology", "{store}", "--csv"),
)


def npczarr(*arguments, cwd=None, **environment):
    """Run the installed program as a script would: nothing is a terminal, warnings are errors."""
    return subprocess.run(
        [Path(sys.executable).parent / "npczarr", *map(str, arguments)],
        cwd=cwd, env=os.environ | {"PYTHONWARNINGS": STRICT_WARNINGS} | environment,
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def here(capsys, monkeypatch, *arguments):
    """Run a command in this process: exit code, output, errors."""
    monkeypatch.setattr(sys, "argv", ["npczarr", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        npc.cli.main()
    printed = capsys.readouterr()
    return int(ended.value.code or 0), printed.out, printed.err


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    out = tmp_path_factory.mktemp("cli") / "cohort"
    npc.make_cohort(out, patients=2, workers=0, reliability=False)
    return out / "primary_data"


@pytest.fixture(scope="module")
def store(source):
    npc.convert(source, source.parent / "npc.zarr", workers=0)
    return source.parent / "npc.zarr"


@pytest.fixture
def damaged(source, tmp_path):
    """The source with a file cut short."""
    copy = tmp_path / "damaged"
    shutil.copytree(source, copy)
    file = sorted((copy / SCAN).iterdir())[3]
    file.write_bytes(file.read_bytes()[:1000])
    return copy


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(command, capsys, monkeypatch):
    code, out, err = here(capsys, monkeypatch, command, "--help")
    assert (code, err) == (0, "")
    assert f"Example: npczarr {command}" in " ".join(out.split())


@pytest.mark.slow
@pytest.mark.parametrize("command", [None, *COMMANDS])
def test_h_is_help(command, capsys, monkeypatch):
    before = [] if command is None else [command]
    assert here(capsys, monkeypatch, *before, "-h") == here(capsys, monkeypatch, *before, "--help")


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("can't start new thread")], ids=["memory", "thread"])
def test_too_little_memory_is_one_line(capsys, monkeypatch, error):
    def fail():
        raise error

    monkeypatch.setattr(sys.modules["npczarr.cli.entry"], "app", fail)
    code, out, err = here(capsys, monkeypatch, "demo")
    assert (code, out) == (2, "")
    assert " ".join(err.split()).startswith("error not enough memory (")


def test_version_is_that_of_the_package(capsys, monkeypatch):
    assert here(capsys, monkeypatch, "--version") == (0, f"{importlib.metadata.version('npczarr')}\n", "")
    assert npc.__version__ == importlib.metadata.version("npczarr")


def test_help_starts_without_the_libraries_of_the_work():
    code = (
        "import sys, npczarr.cli\n"
        "sys.argv = ['npczarr', '--help']\n"
        "try: npczarr.cli.main()\n"
        "except SystemExit: pass\n"
        "heavy = {'numpy', 'xarray', 'dask', 'distributed', 'zarr', 'pandas', 'numba', 'pydicom', 'matplotlib'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    assert "convert" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("imports", ["import npczarr, xarray", "import xarray, npczarr"])
def test_the_accessor_is_there_in_either_order_of_imports(imports):
    code = f"{imports}\nprint(type(xarray.Dataset().npc).__name__)"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout.strip(), done.stderr) == ("CohortAccessor", "")


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """A folder in which the demo has run, as the README has it, and what it printed."""
    folder = tmp_path_factory.mktemp("demo")
    return folder, npczarr("demo", cwd=folder)


@pytest.mark.slow
def test_demo_ends_well_and_is_quiet_where_there_is_no_terminal(demo):
    folder, done = demo
    assert (done.returncode, done.stderr) == (0, "")
    assert "ok every voxel" in done.stdout
    assert "npczarr-demo/report.html" in done.stdout
    assert (folder / "npczarr-demo/report.html").stat().st_size > 100_000
    assert "npczarr view npczarr-demo/demo.zarr" in done.stdout
    assert not set(done.stdout) & set("\x1b\r━╸")
    again = npczarr("demo", cwd=folder)
    assert again.returncode == 2
    assert "not empty" in again.stderr


@pytest.mark.slow
def test_demo_shows_lines_that_run(demo, monkeypatch):
    pytest.importorskip("matplotlib").use("agg")
    folder, done = demo
    monkeypatch.chdir(folder)
    lines = done.stdout.split("in Python:")[1].strip("\n").splitlines()
    exec("\n".join(line.strip() for line in lines), {})


def test_demo_makes_as_many_patients_as_are_asked_for(tmp_path, capsys, monkeypatch):
    asked = []

    def phantom(out, *, patients, **_):
        asked.append(patients)
        raise typer.Exit

    monkeypatch.setattr("npczarr.cli.app.phantom", phantom)
    assert here(capsys, monkeypatch, "demo", tmp_path / "out", "--patients", 2)[0] == 0
    assert asked == [2]


@pytest.mark.slow
def test_workers_are_as_quiet(source, tmp_path):
    done = npczarr("convert", source, tmp_path / "s.zarr", "--workers", 2)
    assert (done.returncode, done.stderr) == (0, "")
    assert npc.validate(tmp_path / "s.zarr", workers=0) == ()


@pytest.mark.slow
def test_a_damaged_scan_is_named_and_the_exit_code_is_1(damaged, tmp_path, capsys, monkeypatch):
    code, out, err = here(capsys, monkeypatch, "convert", damaged, tmp_path / "s.zarr", "--workers", 0)
    assert (code, err) == (1, "")
    (line,) = (line for line in out.splitlines() if line.startswith("refused"))
    assert "002/T2WI" in line
    assert sorted((damaged / SCAN).iterdir())[3].name in line
    code, out, _ = here(capsys, monkeypatch, "info", tmp_path / "s.zarr")
    assert code == 0
    assert "002/T2WI" in out


@pytest.mark.slow
def test_validate_names_a_damaged_scan(source, store, tmp_path, capsys, monkeypatch):
    copy = tmp_path / "s.zarr"
    shutil.copytree(store, copy)
    shard = copy / "image/c/1/2/0/0/0"
    content = bytearray(shard.read_bytes())
    content[100] ^= 1
    shard.write_bytes(content)
    code, out, err = here(capsys, monkeypatch, "validate", copy, "--workers", 0)
    assert (code, err) == (1, "")
    assert "002/CE-T1WI" in out
    code, out, _ = here(capsys, monkeypatch, "validate", copy, "--workers", 0, "--json")
    assert code == 1
    assert {(f["patient"], f["sequence"]) for f in json.loads(out)} == {("002", "CE-T1WI")}
    code, out, _ = here(capsys, monkeypatch, "validate", store, "--workers", 0, "--against", source)
    assert (code, out[:2]) == (0, "ok")


@pytest.mark.slow
def test_json_is_json(source, store, tmp_path, capsys, monkeypatch):
    def answer(*arguments):
        code, out, err = here(capsys, monkeypatch, *arguments, "--json")
        assert (code, err) == (0, "")
        return json.loads(out, parse_constant=pytest.fail)  # NaN and Infinity are not JSON

    converted = answer("convert", source, tmp_path / "s.zarr", "--workers", 0)
    assert converted["data_vars"]["status"]["data"] == [["ok"] * 3] * 2
    assert answer("info", store)["patients"] == 2
    assert answer("validate", store, "--workers", 0) == []
    assert answer("morphology", tmp_path / "s.zarr", "--workers", 0)["failures"] == []


@pytest.fixture
def predictions(source, tmp_path):
    """The cohort's own masks as predictions, of which one is empty."""
    copy = shutil.copytree(source, tmp_path / "predicted", ignore=shutil.ignore_patterns("*.dcm", "*.csv"))
    (path,) = copy.rglob("001/ROI-T1.nii")
    image = nibabel.load(path)
    nibabel.save(nibabel.Nifti1Image(np.zeros(image.shape, np.uint8), image.affine), path)
    return copy


@pytest.mark.slow
def test_a_score_says_its_tolerance_and_is_json_where_a_distance_is_infinite(
    store, predictions, tmp_path, capsys, monkeypatch
):
    copy = shutil.copytree(store, tmp_path / "s.zarr")
    command = ("score", copy, predictions, "--tolerance", 1.5, "--workers", 0)
    code, out, _ = here(capsys, monkeypatch, *command, "--json", "--csv", tmp_path / "scores.csv")
    assert code == 0
    rows = json.loads(out, parse_constant=pytest.fail)["summary"]
    found = {row["metric"]: row for row in rows if row["sequence"] == "T1WI"}
    assert (found["hd"]["max"], found["hd"]["mean"], found["hd"]["mean_low"]) == ("inf", "inf", None)
    assert [row["tolerance_mm"] for row in rows if "tolerance_mm" in row] == [1.5] * 3
    assert found["surface_dice"]["tolerance_mm"] == 1.5
    header, *lines = (line.split(",") for line in (tmp_path / "scores.csv").read_text().splitlines())
    assert {line[header.index("tolerance_mm")] for line in lines} == {"1.5"}
    code, out, _ = here(capsys, monkeypatch, *command)
    assert code == 0
    assert "surface dice at 1.5 mm  T1WI" in out
    assert "[" not in out.replace("[95 %]", "")
    assert "no interval below 5 patients" in out


def test_an_answer_is_json_whatever_its_numbers():
    answer = {"a": [float("inf"), (-float("inf"), float("nan"))], "b": {"c": 0.5, "d": None, "e": True}}
    read = json.loads(as_json(answer), parse_constant=pytest.fail)
    assert read == {"a": ["inf", ["-inf", None]], "b": {"c": 0.5, "d": None, "e": True}}


def test_small_tumors_keep_two_digits_on_the_terminal(capsys):
    row = {"sequence": "T1WI", "metric": "volume", "units": "mm3", "n": 2, "median": 2.4, "min": 0.8, "max": 4.0}
    ranges([row])
    assert "volume cm3        0.0024 (0.00080-0.0040)" in capsys.readouterr().out


def test_a_measure_without_a_value_has_no_least_and_no_largest():
    nothing = xr.Dataset(
        {name: (("patient", "sequence"), [[np.nan]]) for name in ("volume", "voxel_count")},
        coords={"patient": ["1"], "sequence": ["T1WI"]},
    )
    (row,) = summary(nothing, ["volume"])
    assert (row["n"], row["n_missing"]) == (0, 1)
    assert np.isnan([row["min"], row["max"], row["mean"]]).all()


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("morphology", "--csv, --json and the store have mm³ (volume, voxel_volume), mm² (surface_area) and mm"),
        ("agreement", "Distances (hd, hd95, assd, average_…) are in mm"),
        ("score", "Distances (hd, hd95, assd, average_…) are in mm"),
    ],
)
def test_help_names_the_units_of_what_is_written(command, words, capsys, monkeypatch):
    _, out, _ = here(capsys, monkeypatch, command, "--help")
    assert words in " ".join(out.split())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("convert", "nowhere", "s.zarr"), "nowhere"),
        (("convert", "{source}", "s.zarr", "--codec", "gzip"), "lz4, zstd"),
        (("convert", "{source}", "s.zarr", "--dtype", "uint8"), "one of int16, int32, float32"),
        (("convert", "{source}", "s.zarr", "--workers", "-1"), "0 or more"),
        (("convert", "{source}", "s.zarr", "--workers", "2", "--scheduler", "tcp://x:1"), "not both"),
        (("convert", "{source}", "s.zarr", "--storage-option", "region"), "key=value"),
        (("convert", "{source}", "s.zarr", "--config", "nowhere.toml"), "nowhere.toml"),
        (("convert", "{source}", "{source}/meta_data.csv/s.zarr"), "s.zarr"),
        (("convert", "{source}", "s.zarr", "--scheduler", "nonsense"), "tcp://host:8786"),
        (("convert", "{store}", "s.zarr"), "a Zarr store, expected the images and masks"),
        (("convert", "{source}", "/proc/s.zarr", "--workers", "0"), "/proc/s.zarr: cannot write"),
        *(
            ((command, "nowhere.zarr", *more), "nowhere.zarr: no store here; check the path, or make one")
            for command, *more in (
                ("info",),
                ("validate",),
                ("morphology",),
                ("agreement",),
                ("report",),
                ("score", "{source}"),
                ("resample", "r.zarr", "--spacing", "1,1,1"),
                ("export", "out", "--format", "png"),
                ("import-masks", "{source}"),
            )
        ),
        *(((*arguments, "s3://x/y"), "expected a local path, found a URL") for arguments in TO_LOCAL_FILES),
        *(((*arguments, "/proc/x/y"), "/proc/x") for arguments in TO_LOCAL_FILES),
        (("resample", "{store}", "r.zarr", "--spacing", "a,b,c"), "expected one value, or three for z,y,x"),
        (("resample", "{store}", "r.zarr", "--spacing", "1,1"), "three numbers of mm above 0"),
        (("resample", "{store}", "{store}", "--spacing", "1,1,1"), "cannot be resampled into itself"),
        (("export", "{store}", "out", "--format", "tiff", "--size", "0"), "from 1 to 8192 voxels"),
        (("export", "{store}", "out", "--format", "png", "--patients", "999"), "no patient '999' in the store"),
        (("deidentify", "{source}", "out", "--key-file", "nowhere"), "the key cannot be read"),
        (("deidentify", "{source}", "out", "--table", "nowhere.csv"), "nowhere.csv: no such table in the source"),
        (("deidentify", "{store}", "out"), "a Zarr store, expected the DICOM and NIfTI files"),
        (("audit", "{store}"), "a Zarr store, expected a source of DICOM, NIfTI, tables"),
        (("columns", "{source}"), "cannot be read (Is a directory)"),
        (("info", "zzz://a"), "known are s3://, gs://, az:// and https://"),
        (("info", "{store}", "--storage-option", "secret=1"), "looks like a secret"),
        (("info", "{source}"), "no store here"),
        (("phantom", "p", "--size", "big"), "small, medium or full"),
        (("agreement", "{store}"), "raters"),
        (("morphology", "{store}", "--method", "cubes", "--workers", "0"), "lorensen, lewiner"),
    ],
    ids=lambda value: " ".join(value).replace("/", "-") if isinstance(value, tuple) else "",
)
def test_wrong_use_is_one_line_and_exit_code_2(arguments, words, source, store, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    filled = [argument.format(source=source, store=store) for argument in arguments]
    code, out, err = here(capsys, monkeypatch, *filled)
    assert (code, out) == (2, "")
    assert err.startswith("error ")
    assert words in err
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", [None, *COMMANDS])
def test_help_shows_no_type_of_an_option_that_takes_no_value(command, capsys, monkeypatch):
    code, out, _ = here(capsys, monkeypatch, *([] if command is None else [command]), "--help")
    assert code == 0
    assert "--help" in out
    assert "<bool>" not in out


TO_CSV = (
    ("morphology", "{store}", "--csv"),
    ("agreement", "{store}", "--csv"),
    ("score", "{store}", "x", "--csv"),
    ("score", "{store}", "x", "--lesions"),
    ("report", "{store}", "--quality-csv"),
)


@pytest.mark.parametrize("arguments", TO_CSV, ids=lambda value: f"{value[0]} {value[-1]}")
@pytest.mark.parametrize(
    ("file", "words"),
    [("s.zarr/zarr.json", "lies in the store"), ("s.zarr/new.csv", "lies in the store"), ("s.zarr", "in the store"),
     ("notes.csv", "not written by npczarr"), ("review.csv", "not written by npczarr"), ("folder", "is a folder")],
)  # fmt: skip
def test_a_csv_file_replaces_nothing_else(arguments, file, words, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("s.zarr").mkdir()
    Path("folder").mkdir()
    Path("s.zarr/zarr.json").write_text("{}")
    Path("notes.csv").write_text("patient,sequence,remark\n001,T1WI,seen\n")
    Path("review.csv").write_text("patient,sequence,decision,reason,note,reviewer,time,input_digest\n")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    filled = [argument.format(store="s.zarr") for argument in arguments]
    code, out, err = here(capsys, monkeypatch, *filled, file)
    assert (code, out) == (2, "")
    assert err.startswith("error ")
    assert err.count("\n") == 1
    assert words in " ".join(err.split())
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    "columns",
    [
        "patient,sequence,rater,volume,surface_area,max_diameter,surface_regularity",
        "patient,sequence,subject,session,dice,surface_dice,voxels_a",
        "patient,subject,session,sequence,found,volume_a,volume_b,dice",
    ],
)
def test_a_csv_file_of_any_measure_may_be_replaced(columns, tmp_path):
    (tmp_path / "a.csv").write_text(f"{columns}\n")
    assert measures_file(tmp_path / "a.csv") == tmp_path / "a.csv"


@pytest.mark.slow
def test_a_csv_file_of_measures_is_written_again(store, tmp_path, capsys, monkeypatch):
    copy, csv = tmp_path / "s.zarr", tmp_path / "tumors.csv"
    shutil.copytree(store, copy)
    for _ in range(2):
        assert here(capsys, monkeypatch, "morphology", copy, "--csv", csv, "--workers", 0)[0] == 0
    written = csv.read_text(encoding="utf-8")
    csv.write_text(written.partition("\n")[0] + "\n", encoding="utf-8")
    assert here(capsys, monkeypatch, "morphology", copy, "--csv", csv, "--workers", 0)[0] == 0
    assert csv.read_text(encoding="utf-8") == written


@pytest.mark.parametrize("arguments", [("convert", "--bogus"), ("bogus",), ("convert",), ("demo", "--patients", "0")])
def test_unknown_options_and_commands_are_exit_code_2(arguments, capsys, monkeypatch):
    code, _, err = here(capsys, monkeypatch, *arguments)
    assert code == 2
    assert "Error" in err
    assert "Traceback" not in err


@pytest.mark.slow
def test_a_lock_is_named_and_broken_on_request(source, store, tmp_path, capsys, monkeypatch):
    copy = tmp_path / "s.zarr"
    shutil.copytree(store, copy)
    with hold_lease(locate(copy).open(), str(copy)):
        code, _, err = here(capsys, monkeypatch, "convert", source, copy, "--workers", 0)
        assert code == 2
        assert f"process {os.getpid()} on" in err
        assert "--break-lock" in err
        code, out, _ = here(capsys, monkeypatch, "convert", source, copy, "--workers", 0, "--break-lock")
        assert code == 0
        assert "kept" in out
    assert not (copy / LEASE_KEY).exists()


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["0", "2"])
def test_ctrl_c_leaves_a_store_that_can_be_completed(source, store, tmp_path, workers):
    url = tmp_path / "s.zarr"
    slow = (
        "import signal, sys, time, npczarr.cli.show as show\n"
        "from contextlib import contextmanager\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # also where the tests run in the background
        "@contextmanager\n"
        "def progress():\n"
        "    yield lambda state: state.done and (print('one', flush=True), time.sleep(30))\n"
        "show.progress = progress\n"
        "from npczarr.cli import main\n"
        "main()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", slow, "convert", str(source), str(url), "--workers", workers],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    assert process.stdout.readline() == "one\n"
    time.sleep(0.2)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers too
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == "stopped; what was complete is kept, run convert again to go on from there\n"
    assert not (url / LEASE_KEY).exists()
    result = npc.convert(source, url, workers=0)
    assert set(result.action.values.ravel()) <= {"kept", "written", "replaced"}
    assert npc.validate(url, workers=0, against=source) == ()
    assert (npc.open(url).image_digest == npc.open(store).image_digest).all()


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["before", "after", "before twice"])
def test_ctrl_c_while_workers_start_is_one_line(source, tmp_path, moment):
    early = (
        "import asyncio, os, signal, sys, distributed\n"
        "from npczarr.cli import main\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "started = distributed.Nanny.instantiate\n"
        "async def start(nanny):\n"
        "    for _ in range({'before': 1, 'before twice': 2}.get(sys.argv[0], 0)):\n"
        "        os.killpg(0, signal.SIGINT)\n"
        "        await asyncio.sleep(0.1)\n"
        "    status = await started(nanny)\n"
        "    if sys.argv[0] == 'after':\n"
        "        os.killpg(0, signal.SIGINT)\n"
        "    sys.argv[0] = 'done'\n"
        "    return status\n"
        "distributed.Nanny.instantiate = start\n"
        "sys.argv[0] = sys.argv.pop(1)\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", early, moment, "convert", source, tmp_path / "s.zarr", "--workers", "1"],
        capture_output=True, text=True, timeout=60, start_new_session=True, check=False,
    )  # fmt: skip
    stopped = "stopped; what was complete is kept, run convert again to go on from there\n"
    assert (done.returncode, done.stdout, done.stderr) == (130, "", stopped)
    assert not (tmp_path / "s.zarr" / LEASE_KEY).exists()


@pytest.mark.parametrize("command", COMMANDS)
def test_ctrl_c_promises_no_more_than_the_command_keeps(command, capsys, monkeypatch):
    def stopped():
        raise SystemExit(130)

    monkeypatch.setattr(sys.modules["npczarr.cli.entry"], "app", stopped)
    goes_on = f"; what was complete is kept, run {command} again to go on from there"
    said = f"stopped{goes_on if command in ('convert', 'download', 'export', 'resample') else ''}\n"
    assert here(capsys, monkeypatch, command, "x") == (130, "", said)


@pytest.mark.slow
def test_tumors_of_several_raters(cohort, tmp_path, capsys, monkeypatch):
    rated = tmp_path / "raters.zarr"
    for words in (("convert", cohort / "inner_reliability.zip", rated), ("morphology", rated)):
        code, out, err = here(capsys, monkeypatch, *words, "--workers", "0")
        assert (code, err) == (0, "")
    assert "T1WI rater1" in out


@pytest.mark.slow
def test_imported_masks_and_patients_that_are_gone_are_named_at_the_end(source, tmp_path, capsys, monkeypatch):
    copy = shutil.copytree(source, tmp_path / "source")
    npc.convert(copy, tmp_path / "s.zarr", workers=0)
    (tmp_path / "edited/001").mkdir(parents=True)
    shutil.copy(copy / "data/MRI-Segments/001/ROI-T1.nii", tmp_path / "edited/001/ROI-T1.nii")
    image = nibabel.load(tmp_path / "edited/001/ROI-T1.nii")
    nibabel.save(nibabel.Nifti1Image(np.asarray(image.dataobj)[::-1].copy(), image.affine), image.get_filename())
    npc.import_masks(tmp_path / "s.zarr", tmp_path / "edited")
    code, out, _ = here(capsys, monkeypatch, "validate", tmp_path / "s.zarr", "--against", copy, "--workers", "0")
    assert (code, out.strip().endswith("but for masks that were imported: 001/T1WI")) == (0, True)
    (copy / "data/MRI-Segments/002").rename(copy / "data/MRI-Segments/012")
    code, out, _ = here(capsys, monkeypatch, "convert", copy, tmp_path / "s.zarr", "--workers", "0")
    assert code == 0
    assert "note the store holds 1 patient that this source does not have, and keeps it: 002" in out
    assert "012/T1WI  holds the same image as 002/T1WI" in out


@pytest.mark.skipif(os.name == "nt", reason="a shell of POSIX closes the streams")
@pytest.mark.parametrize("closed", [">&-", "<&- >&- 2>&-"])
def test_a_daemon_may_close_the_standard_streams(closed):
    done = subprocess.run(["/bin/sh", "-c", f'"{sys.executable}" -m npczarr --version {closed}'], capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
