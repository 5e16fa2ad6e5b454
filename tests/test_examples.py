"""The examples run as they stand, and on a store that is given."""

import os
import runpy
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import pytest
from distributed import LocalCluster

import npczarr as npc

from .strict import STRICT_WARNINGS

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def run(name, *arguments, cwd):
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *map(str, arguments)],
        cwd=cwd, env=os.environ | {"PYTHONWARNINGS": STRICT_WARNINGS},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    out = tmp_path_factory.mktemp("examples") / "cohort"
    npc.make_cohort(out, patients=2, workers=0, reliability=False)
    return out / "primary_data"


@pytest.fixture(scope="module")
def store(source):
    npc.convert(source, source.parent / "npc.zarr", workers=0)
    return source.parent / "npc.zarr"


def test_first_steps(tmp_path, store, capsys):
    assert "4 patients, sequences T1WI, T2WI, CE-T1WI" in run("first_steps.py", cwd=tmp_path)
    runpy.run_path(str(EXAMPLES / "first_steps.py"))["main"](store)
    assert "2 patients, sequences T1WI, T2WI, CE-T1WI" in capsys.readouterr().out


def test_plot_scan(tmp_path, store):
    pytest.importorskip("matplotlib")
    runpy.run_path(str(EXAMPLES / "plot_scan.py"))["main"](store, "002", tmp_path / "two.png")
    assert (tmp_path / "two.png").read_bytes().startswith(b"\x89PNG")
    run("plot_scan.py", cwd=tmp_path)
    assert (tmp_path / "scan.png").read_bytes().startswith(b"\x89PNG")


def test_own_layout(tmp_path):
    printed = run("own_layout.py", cwd=tmp_path)
    assert "age in the store: 51, 48" in printed
    assert printed.count("ok") == 4


def test_convert_on_cluster(tmp_path, source):
    printed = run("convert_on_cluster.py", source, tmp_path / "npc.zarr", cwd=tmp_path)
    assert printed.count("ok") == 6
    assert npc.validate(tmp_path / "npc.zarr", workers=0) == ()


def test_train(tmp_path):
    printed = run("train.py", "--steps", 2, "--patients", 4, cwd=tmp_path)
    if find_spec("torch") is None:
        assert printed == "examples/train.py needs PyTorch, which is not installed: pip install torch\n"
    else:
        assert "training on 3 patients, 2 steps" in printed
        assert "of 1 patients" in printed


def test_augment(tmp_path):
    printed = run("augment.py", cwd=tmp_path)
    absent = next((name for name in ("monai", "torch", "torchio") if find_spec(name) is None), None)
    if absent is not None:
        assert printed == (
            f"examples/augment.py needs {absent}, which is not installed: pip install torch monai torchio\n"
        )
    else:
        assert printed.count("MONAI:   (3, 8, 48, 48)") == printed.count("TorchIO: (3, 48, 48, 8)") == 2
        assert "2 workers: 2 augmented batches of (2, 3, 8, 48, 48)" in printed


class OneMachine(LocalCluster):
    """Stands for a cluster of many machines: takes what its class is told, and works here."""

    def __init__(self, **asked):
        super().__init__(n_workers=2, threads_per_worker=1, dashboard_address=":0", silence_logs=50)

    def scale(self, n=0, jobs=None):
        return super().scale(n) if jobs is None else None


def spec(**asked):
    return {"spec": {"worker": {"spec": {"containers": [{"args": []}]}}}}


@pytest.mark.parametrize(
    ("name", "module", "members"),
    [
        ("slurm.py", "dask_jobqueue", {"SLURMCluster": OneMachine}),
        ("kubernetes.py", "dask_kubernetes.operator", {"KubeCluster": OneMachine, "make_cluster_spec": spec}),
    ],
)
def test_clusters_of_many_machines(tmp_path, source, monkeypatch, capsys, name, module, members):
    monkeypatch.setitem(sys.modules, module.partition(".")[0], ModuleType(module))
    monkeypatch.setitem(sys.modules, module, ModuleType(module))
    for member, value in members.items():
        monkeypatch.setattr(sys.modules[module], member, value, raising=False)
    runpy.run_path(str(EXAMPLES / name))["main"](str(source), str(tmp_path / "npc.zarr"))
    printed = capsys.readouterr().out
    assert "0 scans could not be measured" in printed
    assert "T1WI" in printed


def test_no_example_is_without_a_test():
    tests = "".join(Path(__file__).with_name(name).read_text() for name in ("test_examples.py", "test_format.py"))
    assert all(f'"{path.name}"' in tests for path in EXAMPLES.glob("*.py"))
