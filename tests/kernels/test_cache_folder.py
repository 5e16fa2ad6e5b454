import os
import subprocess
import sys
from pathlib import Path

import pytest

import npczarr
from npczarr.kernels import set_cache_folder


@pytest.fixture
def nowhere(monkeypatch, tmp_path):
    """Neither the package nor the home may be written to."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("NUMBA_CACHE_DIR", "")  # so that it is put back
    monkeypatch.delenv("NUMBA_CACHE_DIR")
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    monkeypatch.setattr("os.access", lambda path, mode: Path(path).is_relative_to(temporary))
    return temporary


def test_numba_keeps_what_it_compiled_where_home_is_read_only(nowhere, tmp_path, monkeypatch):
    set_cache_folder(tmp_path / "package", tmp_path / "home")
    folder = Path(os.environ["NUMBA_CACHE_DIR"])
    assert folder.parent == nowhere
    assert folder.stat().st_mode & 0o077 == 0
    set_cache_folder(tmp_path / "package", tmp_path / "home")
    assert Path(os.environ["NUMBA_CACHE_DIR"]) == folder
    monkeypatch.delenv("NUMBA_CACHE_DIR")
    set_cache_folder(tmp_path / "package", tmp_path / "home")  # another process finds the same
    assert Path(os.environ["NUMBA_CACHE_DIR"]) == folder


def test_a_folder_that_others_may_write_to_is_not_used(nowhere, tmp_path):
    user = os.getuid() if hasattr(os, "getuid") else os.getlogin()
    planted = nowhere / f"npczarr-numba-{user}"
    planted.mkdir()
    planted.chmod(0o777)
    set_cache_folder(tmp_path / "package", tmp_path / "home")
    assert Path(os.environ["NUMBA_CACHE_DIR"]) != planted


def test_numba_decides_where_it_can(monkeypatch, tmp_path):
    monkeypatch.setenv("NUMBA_CACHE_DIR", "")  # so that it is put back
    monkeypatch.delenv("NUMBA_CACHE_DIR")
    set_cache_folder(tmp_path / "package", tmp_path / "home")
    assert "NUMBA_CACHE_DIR" not in os.environ


@pytest.mark.slow
def test_what_measures_nothing_imports_neither_numba_nor_readers_of_files():
    code = (
        "import sys, npczarr.graphs.measure_store;"
        "print(sorted({'numba', 'pydicom', 'nibabel', 'distributed'} & set(sys.modules)))"
    )
    env = {**os.environ, "PYTHONPATH": str(Path(npczarr.__file__).parent.parent)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
