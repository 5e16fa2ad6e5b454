"""The README's blocks are run as they stand, in the order in which they stand, on a small synthetic cohort."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest
from distributed import Client

import npczarr as npc
from npczarr.cli import main

from .servers import environment, s3_server
from .strict import STRICT_WARNINGS

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
BIN = Path(sys.executable).parent
VENV = ".venv/bin/"


@dataclass(frozen=True)
class Block:
    line: int
    language: str
    text: str


def blocks() -> list[Block]:
    text = README.read_text(encoding="utf-8")
    return [
        Block(text[: match.start(2)].count("\n") + 1, match[1], match[2])
        for match in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    ]


def steps(command: str) -> list[list[str]]:
    """Words of each command of a line ``a && b && c``."""
    return [shlex.split(part) for part in command.split("&&")]


def install_lines() -> list[str]:
    return [b.text.strip() for b in blocks() if b.language == "sh" and "pip install" in b.text]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with what the README takes for granted: somebody's own cohort, laid out otherwise."""
    folder = tmp_path_factory.mktemp("readme")
    made = tmp_path_factory.mktemp("own") / "made"
    npc.make_cohort(made, patients=2, workers=0)
    primary = made / "primary_data"
    for patient in ("001", "002"):
        case = folder / "my_cohort/cases" / f"K{patient[1:]}"
        for ours, theirs, mask in (("t1", "T1WI", "T1"), ("t1gd", "CE-T1WI", "CE-T1")):
            shutil.copytree(primary / "data/MRI-Segments" / patient / theirs, case / ours)
            shutil.copy(primary / "data/MRI-Segments" / patient / f"ROI-{mask}.nii", case / f"{ours}_tumor.nii")
    (folder / "my_cohort/patients.csv").write_text("Case,Alter\nK01,51\nK02,48\n", encoding="utf-8")
    shutil.copy(ROOT / "examples/own_layout.toml", folder)
    return folder


def shell(command: str, folder: Path) -> str:
    """Run a command line with warnings as errors; what it printed."""
    environment = os.environ | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "PYTHONWARNINGS": STRICT_WARNINGS}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    assert done.stderr == ""
    return done.stdout


def in_this_process(command: str, monkeypatch, capsys) -> str:
    """Run a command line of npczarr here, where a Dask client is active: starting workers takes longer."""
    capsys.readouterr()
    monkeypatch.setattr(sys, "argv", shlex.split(command))
    assert sys.argv[0] == "npczarr"
    with pytest.raises(SystemExit) as ended:
        main()
    printed = capsys.readouterr()
    assert not ended.value.code, f"{command}\n{printed.out}\n{printed.err}"
    return printed.out


@pytest.fixture
def s3(tmp_path, monkeypatch):
    """The server that the README's s3:// addresses name; the extra of the tests brings it."""
    with s3_server(tmp_path) as server:
        for name, value in environment(server.url).items():
            monkeypatch.setenv(name, value)
        yield server


def test_every_block_runs(place, s3, monkeypatch, capsys):
    matplotlib = pytest.importorskip("matplotlib")
    monkeypatch.chdir(place)
    names = {"__name__": "__main__"}
    printed = {}
    with matplotlib.rc_context({"backend": "agg"}), Client(processes=False, dashboard_address=":0"):
        for block in blocks():
            if block.language == "python":  # pytest makes warnings errors
                exec(compile("\n" * (block.line - 1) + block.text, str(README), "exec"), names)
            elif block.language == "sh" and "pip install" not in block.text:
                for command in block.text.strip().splitlines():
                    # the first, the main job, as a shell runs it
                    printed[command] = (
                        in_this_process(command, monkeypatch, capsys) if printed else shell(command, place)
                    )
    assert (place / "patient.png").stat().st_size > 10_000
    assert (place / "report.html").stat().st_size > 100_000
    assert (place / "nifti/001/ROI-T1.nii.gz").exists()
    assert abs(npc.open(place / "npc-3mm.zarr").spacing - (3, 1, 1)).max() < 1e-9
    assert (place / "tumors.csv").read_text().count("\n") == 1 + 18
    assert "6 patients, 18 scans" in printed["npczarr info npc.zarr"]
    own = npc.open(place / "my_cohort.zarr")
    assert list(own.sequence.values) == ["T1WI", "CE-T1WI"]
    assert own.age.values.tolist() == [51, 48]
    assert (own.mask_status == "ok").all()


def test_install_lines_install_what_there_is_and_run_what_they_say():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for line in install_lines():
        venv, pip, _ = steps(line)
        assert venv == ["python", "-m", "venv", ".venv"]
        assert pip[:2] == [f"{VENV}pip", "install"]
        named = re.fullmatch(r"\.\[(\w+)\]", pip[-1])
        assert named is not None
        assert named[1] in extras
    first, second = install_lines()
    assert steps(first)[-1] == [f"{VENV}npczarr", "demo"]  # which tests/test_cli.py runs
    assert steps(second)[-1] == [f"{VENV}python", "-m", "pytest"]


def test_continuous_integration_runs_the_test_command_of_the_readme():
    pip, pytest_line = steps(install_lines()[1])[1:]
    lines = [shlex.split(line, comments=True) for line in (ROOT / ".ci/run").read_text().splitlines() if "$" in line]
    installs = [[word for word in line[1:] if word != "--quiet"] for line in lines if line[:1] == ["$bin/pip"]]
    assert [*pip[1:], "uv"] in installs
    assert any(pytest_line[1:] == line[i : i + 2] for line in lines for i in range(len(line)))
    assert ["run_tests", "$place/default"] in lines  # all of them


def test_blocks_are_of_languages_that_are_run():
    assert {block.language for block in blocks()} == {"sh", "python", "toml"}


def test_the_layout_shown_is_the_one_of_the_examples():
    (shown,) = (block.text for block in blocks() if block.language == "toml")
    assert shown == (ROOT / "examples/own_layout.toml").read_text()


def test_commands_and_functions_named_exist():
    text = README.read_text(encoding="utf-8")
    for name in re.findall(r"(?<![\w.])npc\.(?!zarr)(\w+)", text):
        assert name in npc.__all__
    for target in re.findall(r"\]\((?!https?://)([^)#]+)\)", text):
        assert (ROOT / target).exists(), target
