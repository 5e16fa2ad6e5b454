"""The viewer in headless Chromium: requests, bytes and time to the first picture and to the whole patient.

Run ``python benchmarks/viewer.py [--folder FOLDER] [--turns 5]``. It makes a phantom at full size (three patients),
serves it by ``npczarr view``, and opens it in a fresh page: over loopback, and with 20 ms added to each request and
50 Mbit/s (Chromium's own network emulation). Requests are those of objects of image and mask; drawing is by software.
Needs chromium, chromedriver and selenium.
"""

import argparse
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import zarr
from selenium import webdriver

import npczarr as npc
from npczarr.phantom.cohort import make_cohort

FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
         "--disable-sync", "--disable-dev-shm-usage")  # fmt: skip
READY = "return document.getElementById('npczarr-viewer')?.dataset.ready"


class Shown:
    """A store served by the command, and a browser that is known to it."""

    def __init__(self, store):
        command = [sys.executable, "-m", "npczarr", "view", str(store), "--no-browser"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        address = re.search(r"http\S+", self.process.stdout.readline())[0]
        self.root = address.partition("?")[0]
        options = webdriver.ChromeOptions()
        options.binary_location = shutil.which("chromium") or shutil.which("google-chrome")
        for flag in FLAGS:
            options.add_argument(flag)
        self.browser = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
        self.browser.set_script_timeout(60)
        self.browser.get(address)
        self.until("ahead", "whole")

    def until(self, *stages):
        """Wait for one of the stages; seconds since the page was asked for."""
        stop = time.monotonic() + 60
        while self.browser.execute_script(READY) not in stages:
            if time.monotonic() > stop:
                raise SystemExit("the page never showed a picture")
            time.sleep(0.01)
        return self.browser.execute_script("return performance.now()") / 1000

    def visit(self, patient, *, slow):
        """Seconds, voxel objects and bytes when the first picture is there, and when the whole patient is."""
        self.browser.get("about:blank")
        self.browser.execute_cdp_cmd("Network.enable", {})
        conditions = {"offline": False, "latency": 20 if slow else 0}
        conditions |= dict.fromkeys(("downloadThroughput", "uploadThroughput"), 50000000.0 / 8 if slow else -1)
        self.browser.execute_cdp_cmd("Network.emulateNetworkConditions", conditions)
        self.browser.get(f"{self.root}?patient={patient}")
        script = (
            "const all = performance.getEntriesByType('resource').filter(e => /store.(image|mask).c/.test(e.name));"
            "return [all.length, all.reduce((sum, e) => sum + e.encodedBodySize, 0)]"
        )
        stages = (("first", "whole", "ahead"), ("whole", "ahead"))
        return [(self.until(*names), *self.browser.execute_script(script)) for names in stages]

    def close(self):
        """End browser and server."""
        self.browser.quit()
        self.process.send_signal(2)
        self.process.wait()


def objects_of(store, patient):
    """Voxel objects of a patient that are there."""
    place = int(np.flatnonzero(zarr.open_group(store, mode="r")["patient"][:] == patient)[0])
    return sum(
        len([p for p in (store / name / "c" / str(place)).rglob("*") if p.is_file()]) for name in ("image", "mask")
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--turns", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        store = folder / "npc.zarr"
        if not store.exists():
            make_cohort(folder / "cohort", patients=3, size="full")
            npc.convert(folder / "cohort" / "primary_data", store)
        patients = [str(label) for label in npc.open(store).patient.values]
        shown = Shown(store)
        for slow in (False, True):
            runs = [shown.visit(patients[turn % len(patients)], slow=slow) for turn in range(arguments.turns)]
            where = "20 ms added, 50 Mbit/s" if slow else "loopback"
            for stage, name in enumerate(("first picture", "whole patient")):
                seconds, count, size = (statistics.median(run[stage][i] for run in runs) for i in range(3))
                print(f"{where:24} {name:14} {seconds:6.2f} s  {count:3.0f} objects  {size / 1e6:6.1f} MB", flush=True)
        print(f"objects of a patient: {[objects_of(store, patient) for patient in patients]}")
        shown.close()


if __name__ == "__main__":
    main()
