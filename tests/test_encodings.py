"""What commands print where the output cannot hold every letter: readable, and no error."""

import io
import json
import os
import subprocess
import sys
import tomllib
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

import npczarr as npc
from npczarr.cli import show
from npczarr.cli.streams import make_writable, print_file
from npczarr.model.progress import Progress

from .strict import STRICT_WARNINGS

NAMES = ("Ä-01", "Ψ-02")


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Folders of patients whose labels no one-byte encoding holds all of."""
    out = tmp_path_factory.mktemp("encodings") / "cohort"
    npc.make_cohort(out, patients=2, workers=0, reliability=False)
    source = out / "primary_data"
    for old, new in zip(("001", "002"), NAMES, strict=True):
        folder = source / "data/MRI-Segments"
        (folder / old).rename(folder / new)
    return source


def run(encoding, *arguments):
    """Run the installed program with an output of an encoding, as in a pipe of Windows."""
    return subprocess.run(
        [Path(sys.executable).parent / "npczarr", *map(str, arguments)],
        env=os.environ | {"PYTHONWARNINGS": STRICT_WARNINGS, "PYTHONIOENCODING": encoding},
        capture_output=True, timeout=300, check=False,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("encoding", "arrow"), [("cp1252", "->"), ("utf-8", "→")])
def test_commands_end_by_their_own_result_in_any_encoding(source, tmp_path, encoding, arrow):
    store = tmp_path / "s.zarr"
    done = run(encoding, "convert", source, store, "--workers", 0)
    assert (done.returncode, done.stderr) == (0, b"")
    assert f"{arrow}  {store}" in done.stdout.decode(encoding)
    told = {command: run(encoding, *command, store) for command in [("info",), ("validate",), ("info", "--json")]}
    assert {(one.returncode, one.stderr) for one in told.values()} == {(0, b"")}
    assert json.loads(told["info", "--json"].stdout)["patients"] == 2
    missing = run(encoding, "info", tmp_path / NAMES[1])
    assert (missing.returncode, b"Traceback" in missing.stderr) == (2, False)
    assert run(encoding, "convert", "--help").returncode == 0


@pytest.mark.slow
def test_a_file_that_is_printed_is_utf8_in_any_encoding(source, tmp_path):
    done = run("cp1252", "scout", source)
    assert done.returncode == 0
    tomllib.loads(done.stdout.decode("utf-8"))
    found = run("cp1252", "scout", source, "--json")
    assert json.loads(found.stdout)["patients"] == 2


@contextmanager
def ascii_output():
    """Give what is printed in the block to outputs that know no umlaut; yields their bytes."""
    written = io.BytesIO()
    out, err = (io.TextIOWrapper(written, "ascii", "strict", write_through=True) for _ in range(2))
    with redirect_stdout(out), redirect_stderr(err):
        make_writable()
        yield written
    out.detach(), err.detach()


def test_signs_become_similar_ones_and_letters_their_numbers():
    with ascii_output() as written:
        show.out.print("3 × 4 → Jürgen … 😀")
    assert written.getvalue() == b"3 x 4 -> J\\u00fcrgen ... \\U0001f600\n"


def test_bars_are_drawn_in_any_encoding(monkeypatch):
    monkeypatch.setattr(show.err, "_force_terminal", True)
    with ascii_output() as written, show.progress() as draw:
        draw(Progress(1, 2, "scans", {}))
    assert b"scans" in written.getvalue()
    assert written.getvalue().isascii()


def test_a_file_is_printed_as_its_bytes():
    with ascii_output() as written:
        print_file('folder = "Jürgen"\n')
    assert written.getvalue().decode() == 'folder = "Jürgen"\n\n'


def test_what_another_program_put_in_place_of_the_output_stays(monkeypatch):
    taken = io.StringIO()
    monkeypatch.setattr(sys, "stdout", taken)
    make_writable()
    show.out.print("→")
    assert taken.getvalue() == "→\n"
