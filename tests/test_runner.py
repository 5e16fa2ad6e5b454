"""One runner: the same verb by Python and by the command line, wherever its tasks run."""

import hashlib
import importlib
import inspect
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import dask
import pytest
import typer
import xarray as xr

import npczarr as npc
import npczarr.cli
import npczarr.runner
from npczarr import freed_memory
from npczarr.cli import show
from npczarr.cli.app import app
from npczarr.errors import ClusterError, ParameterError
from npczarr.model.progress import Meter, Progress
from npczarr.runner import Runner, watched
from tests.stores import comparable

KEY = "0123456789abcdef"


def records(found):
    return json.loads(json.dumps([asdict(one) for one in found]))


def untimed(result):
    """What happened to each scan, as the JSON of the command line has it; without the seconds, which differ."""
    answer = json.loads(json.dumps(result if isinstance(result, dict) else result.to_dict(), default=str))
    del answer["data_vars"]["seconds"]
    return answer


def any_day(text):
    """The text without the day on which it was written: what is compared may be from before and after midnight."""
    for now in (datetime.now(), datetime.now(UTC)):
        for day in (now, now - timedelta(days=1)):
            for said in (f"{day:%Y-%m-%d}", f"{day:%d %B %Y}"):
                text = text.replace(said.encode(), b"this day")
    return text


def undated(answer):
    return json.loads(any_day(json.dumps(answer).encode()))


def nothing(_):
    return None


def itself(value):
    return value


@dataclass(frozen=True)
class Verb:
    """A long verb: as Python calls it, as a shell does, which copies it needs, what it leaves, and what it answers."""

    python: Callable
    arguments: tuple[str, ...]
    needs: tuple[str, ...] = ()
    leaves: str = ""
    group: str | None = None
    answer: Callable = nothing  # of the value in Python, comparable with the JSON
    answer_json: Callable = itself


def measured(name, **parameters):
    return lambda **how: npc.measure_store("npc.zarr", name, **parameters, **how)


VERBS = {
    "phantom": Verb(
        lambda **how: npc.make_cohort("out", patients=2, **how), ("phantom", "out", "--patients", "2"), leaves="out"
    ),
    "convert": Verb(
        lambda **how: npc.convert("primary_data", "out.zarr", **how),
        ("convert", "primary_data", "out.zarr"),
        needs=("primary_data",),
        leaves="out.zarr",
        answer=untimed,
        answer_json=untimed,
    ),
    "validate": Verb(
        lambda **how: npc.validate("npc.zarr", against="primary_data", **how),
        ("validate", "npc.zarr", "--against", "primary_data"),
        needs=("npc.zarr", "primary_data"),
        answer=records,
    ),
    "morphology": Verb(measured("morphology"), ("morphology", "npc.zarr"), ("npc.zarr",), "npc.zarr", "morphology"),
    "agreement": Verb(
        lambda **how: npc.measure_store("raters.zarr", "agreement", **how),
        ("agreement", "raters.zarr"),
        ("raters.zarr",),
        "raters.zarr",
        "agreement",
    ),
    "score": Verb(
        measured("score", predictions="nifti"),
        ("score", "npc.zarr", "nifti"),
        ("npc.zarr", "nifti"),
        "npc.zarr",
        "score/nifti",
    ),
    "resample": Verb(
        lambda **how: npc.resample_store("npc.zarr", "out.zarr", spacing=(4, 2, 2), **how),
        ("resample", "npc.zarr", "out.zarr", "--spacing", "4,2,2"),
        needs=("npc.zarr",),
        leaves="out.zarr",
        answer=untimed,
        answer_json=untimed,
    ),
    "export": Verb(
        lambda **how: npc.export_scans("npc.zarr", "out", format="png", **how),
        ("export", "npc.zarr", "out", "--format", "png"),
        needs=("npc.zarr",),
        leaves="out",
        answer=records,
    ),
    "import-masks": Verb(
        lambda **how: npc.import_masks("npc.zarr", "edited", **how),
        ("import-masks", "npc.zarr", "edited"),
        needs=("npc.zarr", "edited"),
        leaves="npc.zarr",
        answer=lambda found: undated(records(found)),
        answer_json=undated,
    ),
    "report": Verb(
        lambda **how: npc.write_report("npc.zarr", "out/report.html", quality_csv="out/quality.csv", **how),
        ("report", "npc.zarr", "-o", "out/report.html", "--quality-csv", "out/quality.csv"),
        needs=("npc.zarr",),
        leaves="out",
    ),
    "audit": Verb(
        lambda **how: npc.audit("primary_data", **how).as_dict(),
        ("audit", "primary_data"),
        needs=("primary_data",),
        answer=lambda found: json.loads(json.dumps(found)),
    ),
    "deidentify": Verb(
        lambda **how: npc.deidentify("primary_data", "out", key=KEY.encode(), **how),
        ("deidentify", "primary_data", "out", "--key-file", "key"),
        needs=("primary_data", "key"),
        leaves="out",
        answer=lambda done: json.loads(json.dumps(asdict(done))),
    ),
}
FUNCTIONS = (
    npc.make_cohort, npc.convert, npc.validate, npc.measure_store, npc.resample_store, npc.export_scans,
    npc.import_masks, npc.write_report, npc.audit, npc.deidentify,
)  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A cohort of two patients, its stores, its masks as files, and other masks."""
    folder = tmp_path_factory.mktemp("made")
    npc.make_cohort(folder, patients=2, workers=0)
    npc.convert(folder / "primary_data", folder / "npc.zarr", workers=0)
    npc.convert(folder / "inner_reliability.zip", folder / "raters.zarr", workers=0)
    npc.export_scans(folder / "npc.zarr", folder / "nifti", format="nifti", workers=0)
    shutil.copytree(folder / "nifti", folder / "edited")
    for mask in (folder / "edited/001").glob("ROI-*"):  # the masks of one patient change, those of the other do not
        shift_mask(mask)
    (folder / "key").write_text(KEY)
    return folder


def shift_mask(path):
    import nibabel
    import numpy as np

    image = nibabel.load(path)
    moved = np.roll(np.asarray(image.dataobj), 1, axis=0)
    nibabel.save(nibabel.Nifti1Image(moved, image.affine), path)


@pytest.fixture(scope="module")
def cluster():
    from distributed import LocalCluster

    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0", silence_logs=50) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def expected(made, tmp_path_factory):
    """By name of the verb: what Python gives in one process, and the states of its progress."""
    found = {}

    def of(name):
        if name not in found:
            folder = tmp_path_factory.mktemp("expected")
            with pytest.MonkeyPatch.context() as monkeypatch:
                found[name] = by_python(VERBS[name], enter(VERBS[name], made, folder, monkeypatch), workers=0)
        return found[name]

    return of


def enter(verb, made, folder, monkeypatch):
    """Copy what a verb needs into a folder, and work there: names in answers are then the same in every folder."""
    for name in verb.needs:
        copy = shutil.copytree if (made / name).is_dir() else shutil.copy
        copy(made / name, folder / name)
    monkeypatch.chdir(folder)
    return folder


def by_python(verb, folder, **how):
    states = []
    value = verb.python(on_progress=states.append, **how)
    return verb.answer(value), left_by(verb, folder), states


def by_command_line(verb, folder, capfd, monkeypatch, *how):
    states = []

    @contextmanager
    def progress():
        yield states.append

    monkeypatch.setattr(show, "progress", progress)
    as_json = () if verb.answer is nothing else ("--json",)
    monkeypatch.setattr(sys, "argv", ["npczarr", *verb.arguments, *how, *as_json])
    capfd.readouterr()
    with pytest.raises(SystemExit) as ended:
        npczarr.cli.main()
    out, err = capfd.readouterr()
    assert err == ""  # workers print nothing either
    assert ended.value.code in (0, None) or verb.arguments[0] == "audit"  # which finds something in any cohort
    return verb.answer_json(json.loads(out)) if as_json else None, left_by(verb, folder), states


def left_by(verb, folder):
    """What a verb leaves: a result in memory, a whole store, or the digests of its files."""
    if not verb.leaves:
        return None
    if verb.leaves.endswith(".zarr"):
        return comparable(npc.open(folder / verb.leaves, group=verb.group).load())
    files = sorted(path for path in (folder / verb.leaves).rglob("*") if path.is_file())
    assert files
    return {str(path.relative_to(folder)): hashlib.sha256(any_day(path.read_bytes())).hexdigest() for path in files}


def assert_same(found, expected):
    answer, left, states = found
    expected_answer, expected_left, expected_states = expected
    assert answer == expected_answer
    if isinstance(left, xr.Dataset):
        xr.testing.assert_identical(left, expected_left)
    else:
        assert left == expected_left
    done = [state.done for state in states]
    assert done[0] == 0 < done[-1] == states[-1].total
    assert done == sorted(set(done))
    assert len(states) == len(expected_states)
    assert states[-1] == expected_states[-1]
    assert {(state.total, state.unit) for state in states} == {(state.total, state.unit) for state in expected_states}


@pytest.fixture
def started(monkeypatch):
    """How many clusters of local processes were started."""
    starts = []
    start = npczarr.runner.start_workers

    def counted(*arguments):
        starts.append(arguments)
        return start(*arguments)

    monkeypatch.setattr(npczarr.runner, "start_workers", counted)
    return starts


@pytest.mark.slow
@pytest.mark.parametrize("name", VERBS)
def test_the_command_line_is_the_same_call(name, made, expected, started, tmp_path, capfd, monkeypatch):
    wanted = expected(name)
    folder = enter(VERBS[name], made, tmp_path, monkeypatch)
    assert_same(by_command_line(VERBS[name], folder, capfd, monkeypatch, "--workers", "0"), wanted)
    assert not started


@pytest.mark.slow
@pytest.mark.parametrize("name", VERBS)
def test_two_processes_give_the_same(name, made, expected, started, tmp_path, capfd, monkeypatch):
    wanted = expected(name)
    capfd.readouterr()
    folder = enter(VERBS[name], made, tmp_path, monkeypatch)
    assert_same(by_python(VERBS[name], folder, workers=2), wanted)
    assert len(started) == 1
    assert capfd.readouterr() == ("", "")  # workers print nothing


@pytest.mark.slow
@pytest.mark.parametrize("name", VERBS)
def test_a_cluster_gives_the_same(name, made, expected, started, cluster, tmp_path, monkeypatch):
    from distributed import Client

    wanted = expected(name)
    folder = enter(VERBS[name], made, tmp_path, monkeypatch)
    before = cluster.scheduler.transition_counter
    with Client(cluster):
        assert_same(by_python(VERBS[name], folder), wanted)
    assert cluster.scheduler.transition_counter > before
    assert not started


@pytest.mark.slow
def test_a_cluster_without_workers_is_said_and_waited_for(monkeypatch):
    from distributed import Client, LocalCluster

    monkeypatch.setattr(watched, "_PATIENCE_SECONDS", 0.2)
    monkeypatch.setattr(watched, "_LOOK_SECONDS", 0.1)
    with LocalCluster(n_workers=0, processes=False, dashboard_address=":0") as empty, Client(empty):
        timer = threading.Timer(2, empty.scale, [1])
        timer.start()
        with pytest.warns(RuntimeWarning, match=f"no worker at {empty.scheduler_address}, so tasks are waiting"):
            (done,) = Runner().run(abs, [-1], name=str)
        timer.join()
    assert done == (-1, 1)


@pytest.mark.slow
def test_workers_that_join_late_get_tasks_before_any_has_ended(monkeypatch):
    from distributed import Client, LocalCluster

    monkeypatch.setattr(watched, "_LOOK_SECONDS", 0.1)
    place = LocalCluster(n_workers=0, threads_per_worker=2, processes=False, dashboard_address=":0")
    with place as late, Client(late):
        timer = threading.Timer(1, late.scale, [4])
        timer.start()
        done = list(Runner().run(runs_beside, [8] * 8, name=str))
        timer.join()
    # each waits for the other seven, and one or two are in flight before there are workers
    assert done == [(8, True)] * 8


BEGUN = []


def runs_beside(wanted):
    """Whether as many tasks as are wanted run together, in threads of this process."""
    BEGUN.append(wanted)
    end = time.monotonic() + 60
    while len(BEGUN) < wanted and time.monotonic() < end:
        time.sleep(0.05)
    return len(BEGUN) >= wanted


@pytest.mark.slow
def test_a_scheduler_that_goes_away_is_said_once(tmp_path, capfd):
    commands = [["distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"]]
    commands[0] += ["--scheduler-file", str(tmp_path / "s.json")]
    commands.append(["distributed.cli.dask_worker", "--scheduler-file", str(tmp_path / "s.json"), "--no-dashboard"])
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": tmp_path}
    scheduler, local = (subprocess.Popen([sys.executable, "-m", *command], **quiet) for command in commands)
    try:
        while not (tmp_path / "s.json").exists():
            time.sleep(0.1)
        address = json.loads((tmp_path / "s.json").read_text())["address"]
        with Runner(scheduler=address) as runner:
            done = runner.run(time.sleep, [0.1] * 10_000, name=str)
            assert next(done) == (0.1, None)
            scheduler.kill()
            with pytest.raises(ClusterError, match=r"gave up 0\.1: its scheduler went away"):
                list(done)
    finally:
        scheduler.kill()
        local.terminate()
        scheduler.wait()
        local.wait()
    assert capfd.readouterr() == ("", "")


def worker(status, **others):
    return {"status": status, "nthreads": 1, "memory_limit": 250 * 2**20, **others}


class Cluster:
    """A cluster as a client sees it, of workers that a test sets."""

    def __init__(self, **workers):
        self.workers = workers
        self.scheduler = SimpleNamespace(address="tcp://10.0.0.1:8786")

    def nthreads(self):
        return {name: one["nthreads"] for name, one in self.workers.items()}

    def scheduler_info(self, n_workers):
        assert n_workers == -1
        return {"workers": self.workers}


def test_workers_that_are_paused_are_said_and_take_no_tasks(monkeypatch):
    monkeypatch.setattr(watched, "_PATIENCE_SECONDS", 0.05)
    monkeypatch.setattr(watched, "_LOOK_SECONDS", 0.01)
    cluster = Cluster(a=worker("paused"), b=worker("running", nthreads=3))
    said = []
    monkeypatch.setattr(watched.warnings, "warn", lambda words, *_, **__: said.append(words))
    with watched.WatchedWorkers(cluster) as seen:
        end = time.monotonic() + 10
        while not said and time.monotonic() < end:
            time.sleep(0.01)
        time.sleep(0.1)
    (words,) = said  # once
    assert words.startswith("the worker a has paused, as its memory of 250 MiB")
    assert seen.threads == 3


def test_a_worker_that_pauses_for_a_moment_is_not_said(monkeypatch):
    monkeypatch.setattr(watched, "_LOOK_SECONDS", 0.01)
    with watched.WatchedWorkers(Cluster(a=worker("paused"))) as seen:
        end = time.monotonic() + 10
        while seen.threads and time.monotonic() < end:
            time.sleep(0.01)
    assert seen.threads == 0  # it was seen


class Begun(BaseException):
    """Raised in place of beginning to run tasks."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "wanted"),
    [(("--workers", "2"), (2, None)), (("--scheduler", "tcp://host:8786"), (None, "tcp://host:8786"))],
    ids=["workers", "scheduler"],
)
@pytest.mark.parametrize("name", VERBS)
def test_the_command_line_asks_for_the_same_place(name, options, wanted, made, tmp_path, monkeypatch):
    def begin(runner, workers=None, scheduler=None, **_):
        raise Begun(workers, scheduler)

    enter(VERBS[name], made, tmp_path, monkeypatch)
    monkeypatch.setattr(Runner, "__init__", begin)
    monkeypatch.setattr(sys, "argv", ["npczarr", *VERBS[name].arguments, *options])
    with pytest.raises(Begun) as begun:
        npczarr.cli.main()
    assert begun.value.args == wanted


@pytest.mark.slow
def test_the_command_line_gives_the_same_on_a_cluster(made, expected, started, cluster, tmp_path, capfd, monkeypatch):
    for name in ("convert", "report"):
        wanted = expected(name)
        folder = tmp_path / name
        folder.mkdir()
        enter(VERBS[name], made, folder, monkeypatch)
        before = cluster.scheduler.transition_counter
        how = ("--scheduler", cluster.scheduler_address)
        assert_same(by_command_line(VERBS[name], folder, capfd, monkeypatch, *how), wanted)
        assert cluster.scheduler.transition_counter > before
    assert not started


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__name__)
def test_every_long_verb_takes_the_same_keywords(function):
    parameters = inspect.signature(function).parameters
    for name in ("workers", "scheduler", "on_progress"):
        assert parameters[name].kind is inspect.Parameter.KEYWORD_ONLY
        assert parameters[name].default is None
    assert parameters["on_progress"].annotation == "OnProgress | None"


@pytest.mark.parametrize("name", VERBS)
def test_every_long_command_takes_the_same_options(name):
    command = typer.main.get_command(app).commands[name]
    assert {"workers", "scheduler"} <= {parameter.name for parameter in command.params}


@pytest.mark.parametrize("workers", ["2", 1.5, True])
def test_workers_are_a_whole_number(workers):
    with pytest.raises(ParameterError, match=f"workers must be a whole number of 0 or more, got {workers!r}"):
        Runner(workers)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"workers": -1}, "0 or more"),
        ({"workers": 1, "scheduler": "tcp://x:1"}, "not both"),
        ({"scheduler": "nonsense"}, "tcp://host:8786"),
    ],
)
@pytest.mark.parametrize("name", VERBS)
def test_wrong_keywords_are_an_error_before_anything_is_written(name, how, words, made, tmp_path, monkeypatch):
    enter(VERBS[name], made, tmp_path, monkeypatch)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ParameterError, match=words):
        VERBS[name].python(**how)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.slow
def test_a_second_run_counts_what_is_kept_and_has_nothing_to_do(made, tmp_path, monkeypatch):
    for name in ("convert", "morphology", "export", "resample"):
        folder = tmp_path / name
        folder.mkdir()
        enter(VERBS[name], made, folder, monkeypatch)
        VERBS[name].python(workers=0)
        states = []
        VERBS[name].python(workers=0, on_progress=states.append)
        (state,) = states
        assert (state.done, state.total) == (0, 0)
        assert state.counts["kept"] == (2 if name == "morphology" else 6)


def test_a_meter_reports_the_start_and_every_item():
    states = []
    meter = Meter(states.append, 3, "scans", {"kept": 2, "refused": 0})
    meter.add(counts={"ok": 1}, bytes=10)
    meter.add(2, counts={"ok": 1, "refused": 1}, bytes=5)
    assert states == [
        Progress(0, 3, "scans", 0, {"kept": 2}),
        Progress(1, 3, "scans", 10, {"kept": 2, "ok": 1}),
        Progress(3, 3, "scans", 15, {"kept": 2, "ok": 2, "refused": 1}),
    ]
    Meter(None, 1, "scans").add()


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (Progress(3, 9, "scans", 4_000_000, {"ok": 2, "refused": 1, "kept": 4}), "3/9  2 MB/s  1 refused, 4 kept"),
        (Progress(3, 9, "patients"), "3/9  1.5 patients/s"),
        (Progress(0, 9, "masks"), "0/9"),
        (Progress(2_000_000, None, "bytes", 2_000_000), "2.0/? MB  1 MB/s"),
    ],
)
def test_every_progress_is_said_in_the_same_words(state, words):
    assert show.in_words(state, 2.0) == words


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="of the C library of Linux")
@pytest.mark.parametrize(("threshold", "kept"), [(None, True), (7, False)])
def test_workers_of_the_user_keep_freed_memory_unless_told_how_much(monkeypatch, threshold, kept):
    import distributed

    monkeypatch.delenv("MALLOC_TRIM_THRESHOLD_", raising=False)  # Dask leaves it there
    place = "distributed.nanny.pre-spawn-environ"
    given = dask.config.get(place)
    with (
        dask.config.set({place: given if threshold is None else given | {"MALLOC_TRIM_THRESHOLD_": threshold}}),
        distributed.Client(n_workers=1, threads_per_worker=1, dashboard_address=":0"),
        Runner() as runner,
    ):
        answers = [was_kept for _, was_kept in runner.run(whether_memory_is_kept, [0], name=str)]
    assert answers == [kept]


def whether_memory_is_kept(_):
    return freed_memory.keep()


@pytest.mark.slow
def test_workers_have_the_environment_of_the_moment_in_which_they_are_started(monkeypatch):
    monkeypatch.setenv("NPCZARR_FIRST", "1")
    for name in ("NPCZARR_SECOND", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    assert asked_of_a_worker("NPCZARR_FIRST", "NPCZARR_SECOND", "OMP_NUM_THREADS") == ["1", None, "1"]
    monkeypatch.delenv("NPCZARR_FIRST")
    monkeypatch.setenv("NPCZARR_SECOND", "2")
    assert asked_of_a_worker("NPCZARR_FIRST", "NPCZARR_SECOND") == [None, "2"]


@pytest.mark.slow
def test_what_dask_sets_for_workers_does_not_stay(monkeypatch):
    importlib.import_module("distributed.nanny")  # leaves a variable of its own when it is imported
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.delenv("MALLOC_TRIM_THRESHOLD_", raising=False)
    before = dict(os.environ)
    assert asked_of_a_worker("OMP_NUM_THREADS", "MALLOC_TRIM_THRESHOLD_") == ["3", "65536"]
    assert dict(os.environ) == before


@pytest.mark.slow
def test_two_runners_take_back_what_dask_sets_and_leave_what_the_user_sets(monkeypatch):
    importlib.import_module("distributed.nanny")
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "MALLOC_TRIM_THRESHOLD_"):
        monkeypatch.delenv(name, raising=False)
    before = dict(os.environ)
    first, second = Runner(1), Runner(1)
    for runner in (first, second):
        runner.__enter__()
        assert [value for _, value in runner.run(os.getenv, ["OMP_NUM_THREADS"], name=str)] == ["1"]
    monkeypatch.setenv("MKL_NUM_THREADS", "5")
    for runner in (first, second):
        runner.__exit__(None, None, None)
    assert dict(os.environ) == before | {"MKL_NUM_THREADS": "5"}


def asked_of_a_worker(*names):
    with Runner(1) as runner:
        return [value for _, value in runner.run(os.getenv, names, name=str)]


SCRIPT = """
import sys
import npczarr as npc

def work():
    npc.make_cohort(sys.argv[1], patients=2, workers=2)
    print(__file__)

{call}
"""


@pytest.mark.slow
@pytest.mark.parametrize("call", ["work()", 'if __name__ == "__main__":\n    work()'])
def test_a_script_needs_no_guard(call, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(call=call))
    done = subprocess.run(
        [sys.executable, script, tmp_path / "out"], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [str(script)]  # once, and the script's own name is there again
    assert (tmp_path / "out/truth.json").exists()


OF_A_FOLDER = """
import sys
from mine import double
from npczarr.runner import Runner

with Runner(2) as runner:
    print(sorted(result for _, result in runner.run(double, [1, 2], name=str)))
"""


@pytest.mark.slow
@pytest.mark.parametrize("where", ["beside it", "elsewhere"])
def test_workers_import_the_script_s_modules_and_nothing_of_the_folder_that_it_is_run_in(tmp_path, where):
    script, folder = tmp_path / "script", tmp_path / "folder"
    script.mkdir()
    folder.mkdir()
    (script / "script.py").write_text(OF_A_FOLDER)
    (script / "mine.py").write_text("def double(n):\n    return 2 * n\n")
    for name in ("random", "types", "socket", "pickle"):
        (folder / f"{name}.py").write_text(f"open({str(tmp_path / name)!r}, 'w').close()\nraise SystemExit(1)\n")
    done = subprocess.run(
        [sys.executable, script / "script.py"],
        cwd=folder if where == "elsewhere" else script,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "[2, 4]\n", "")
    assert {one.name for one in tmp_path.iterdir()} == {"script", "folder"}
