"""A disk that fails, and one that becomes read-only in the middle: one line that names the object, nothing else lost.

The faults are real answers of system calls, in processes of their own.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

#: What fails, the command, its exit code, and what it says.
BAD_DISK = [
    ("READ /002/T2WI/:/002/ROI-CE-T1.nii:info_diagnoses.csv", "convert {source} {out}/some.zarr --workers 0", 1,
     ("refused  002/T2WI  file 00001.dcm cannot be read (Input/output error)",
      "warning  002/CE-T1WI  mask refused: the mask cannot be read (Input/output error)",
      "table info_diagnoses.csv: cannot be read (Input/output error); the table was left out")),
    ("WRITE out.zarr/image/c/1", "convert {source} {out}/out.zarr --workers 0", 2, ("cannot write image/c/1/",)),
    ("", "convert {source} {out}/out.zarr --workers 0", 0, ("written",)),
    ("READ out.zarr/image/c/1/1:out.zarr/spacing/c", "validate {out}/out.zarr --workers 0", 1,
     ("spacing: cannot be read (OSError: [Errno 5] Input/output error); restore it from a copy",)),
    ("READ out.zarr/image/c/1/1", "validate {out}/out.zarr --workers 0", 1, ("cannot read image/c/1/1/0/0/0",)),
    ("READ out.zarr/image/c/1/1", "report {out}/out.zarr -o {out}/r.html --workers 0", 1,
     ("failed 002/T2WI ({out}/out.zarr): the image is damaged, image/c/1/1/0/0/0 cannot be read",)),
    ("READ out.zarr/mask/c/1/1", "morphology {out}/out.zarr --workers 0", 1, ("failed 002/T2WI",)),
    ("READ out.zarr/spacing/c", "info {out}/out.zarr", 2, ("cannot read spacing/c/0/0/0",)),
    ("WRITE n.csv", "morphology {out}/out.zarr --csv {out}/n.csv --workers 0", 2, ("n.csv: Input/output error",)),
    ("", "validate {out}/out.zarr --workers 0", 0, ("every voxel",)),
]  # fmt: skip

RUN = """
import json, os, sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from npczarr.cli import show
from npczarr.cli.entry import main

for fault, command, *_ in json.load(sys.stdin):
    os.environ.update(EIO_READ="", EIO_WRITE="")
    if fault:
        kind, _, part = fault.partition(" ")
        os.environ["EIO_" + kind] = part
    sys.argv = ["npczarr", *command.split()]
    said = StringIO()
    show.out.file = show.err.file = said
    try:
        main()
        code = 0
    except SystemExit as end:
        code = end.code or 0
    os.environ.update(EIO_READ="", EIO_WRITE="")
    print(json.dumps([code, said.getvalue()]), flush=True)
"""


def test_a_bad_disk_is_told_by_its_object_and_costs_nothing_else(cohort, tmp_path):
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("no C compiler, or no Linux: system calls cannot be made to fail")
    shim = tmp_path / "failing_disk.so"
    code = Path(__file__).with_name("failing_disk.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", shim, code, "-ldl"], check=True)
    places = {"source": cohort / "primary_data", "out": tmp_path}
    cases = [
        (fault, command.format(**places), code, [text.format(**places) for text in texts])
        for fault, command, code, texts in BAD_DISK
    ]
    done = subprocess.run(
        [sys.executable, "-c", RUN],
        input=json.dumps(cases),
        env={**os.environ, "LD_PRELOAD": str(shim)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    for (fault, command, code, texts), (found, said) in zip(cases, answers, strict=True):
        absent = [text for text in texts if text not in said]
        assert (found, absent) == (code, []), f"{fault}: {command}\nexit {found}\n{said}"
        assert "Traceback" not in said
    assert not [path for path in tmp_path.rglob("*") if path.name.startswith(".") or path.name.endswith(".partial")]


MOUNT = """
import subprocess, sys
import npczarr as npc

source, place = sys.argv[1:]
subprocess.run(["mount", "-t", "tmpfs", "tmpfs", place], check=True)

def freeze(state):
    if state.done == 4:
        subprocess.run(["mount", "-o", "remount,ro", place], check=True)

try:
    npc.convert(source, place + "/a.zarr", workers=0, on_progress=freeze)
except npc.NpczarrError as error:
    print(type(error).__name__, error)
subprocess.run(["mount", "-o", "remount,rw", place], check=True)
result = npc.convert(source, place + "/a.zarr", workers=0)
print(sorted(set(result["action"].values.flat)), npc.validate(place + "/a.zarr", workers=0))
"""


def test_a_place_that_becomes_read_only_ends_the_run_in_one_line_and_it_goes_on_later(cohort, tmp_path):
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-m", "true"], check=False).returncode:
        pytest.skip("no mount namespaces here")
    command = ["unshare", "-m", sys.executable, "-c", MOUNT, cohort / "primary_data", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    first, last = done.stdout.splitlines()
    assert first.startswith("ReadOnlyError")
    assert "its file system is read-only, or became so" in first
    assert "written" in last
    assert last.endswith("()")
