"""What a person would see: the page in a browser, and where things should be by another computation."""

import itertools
import json
import time

import numpy as np
import zarr

WAIT = 30  # s; the machine may be busy
RED = (255, 92, 57)  # the first color of the palette
ORDER = ("no", "first", "whole", "ahead")
#: To the right and down on the screen, and end on, as indices of LPS axes with signs.
SCREEN = {"axial": ((0, 1), (1, 1), 2), "coronal": ((0, 1), (2, -1), 1), "sagittal": ((1, 1), (2, -1), 0)}


class Looking:
    """The page of one store."""

    def __init__(self, browser, served) -> None:
        self.browser = browser
        self.served = served

    def open(self, query: str = "", *, width=1400, height=900, theme="dark", ratio=1) -> None:
        browser = self.browser
        metrics = {"width": width, "height": height, "deviceScaleFactor": ratio, "mobile": width < 500}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        scheme = [{"name": "prefers-color-scheme", "value": theme}]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})
        browser.get_log("performance")
        browser.get_log("browser")
        self.served.read.clear()
        browser.get(f"{self.served.address}/?token={self.served.access.token}" + (f"&{query}" if query else ""))

    def go(self, query: str) -> None:
        """Another state, in the browser that is known by now."""
        self.browser.get("about:blank")
        self.served.read.clear()
        self.browser.get(f"{self.served.address}/?{query}")

    def until(self, script: str, *arguments):
        """Wait until a script returns something that is true, and return that."""
        stop = time.monotonic() + WAIT
        while time.monotonic() < stop:
            found = self.run(script, *arguments)
            if found:
                return found
            time.sleep(0.03)
        raise AssertionError(f"never so: {script}; {self.run('return document.body.innerText')[:600]}")

    def ready(self, stage: str = "whole") -> None:
        stages = ORDER[ORDER.index(stage) :]
        self.until("return arguments[0].includes(document.getElementById('npczarr-viewer')?.dataset.ready)", stages)

    def shows(self, patient: str, stage: str = "whole") -> None:
        self.until("return document.querySelector('.npczarr h1')?.textContent === arguments[0]", patient)
        self.ready(stage)
        self.settle()

    def settle(self) -> None:
        """Two frames later what was changed is drawn."""
        self.browser.execute_async_script(
            "const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done)))"
        )

    def run(self, script: str, *arguments):
        return self.browser.execute_script(script, *arguments)

    def text(self, selector: str) -> str:
        return self.run("return document.querySelector(arguments[0])?.innerText ?? ''", selector)

    def console(self) -> list[str]:
        said = [entry["message"] for entry in self.browser.get_log("browser")]
        return [text for text in said if "willReadFrequently" not in text]  # said of these tests' own reading

    def asked(self) -> list[str]:
        """Addresses that the page asked for."""
        events = [json.loads(entry["message"])["message"] for entry in self.browser.get_log("performance")]
        sent = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
        return [url for url in sent if not url.startswith(("data:", "about:", "chrome"))]

    def keys(self, *keys: str) -> None:
        from selenium.webdriver.common.action_chains import ActionChains

        for key in keys:
            ActionChains(self.browser).send_keys(key).perform()
            self.settle()

    def colored(self, pane: int, color=RED) -> np.ndarray:
        """(n, 2) centers of the pixels of a pane that have just this color."""
        script = """
            const canvas = document.querySelectorAll('.pane canvas')[arguments[0]], [r, g, b] = arguments[1];
            const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
            const found = [];
            for (let i = 0; i < data.length; i += 4)
              if (data[i] === r && data[i + 1] === g && data[i + 2] === b) found.push(i / 4);
            return [canvas.width, found];"""
        width, found = self.run(script, pane, list(color))
        rows, columns = np.divmod(np.array(found, dtype=int), width)
        return np.stack([columns + 0.5, rows + 0.5], axis=1)

    def size(self, pane: int) -> tuple[int, int]:
        """Width and height of a pane in pixels of the canvas."""
        return tuple(
            self.run(
                "const c = document.querySelectorAll('.pane canvas')[arguments[0]]; return [c.width, c.height]", pane
            )
        )


def screen_axes(affine: np.ndarray, plane: str):
    """Voxel axes across, down and through the screen, and unit vectors to the right and down in mm.

    Of all ways to match the voxel axes with those of the patient, the one with the largest sum of cosines.
    """
    directions = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    best = max(itertools.permutations(range(3)), key=lambda p: sum(abs(directions[lps, p[lps]]) for lps in range(3)))
    (right, right_sign), (down, down_sign), through = SCREEN[plane]
    vectors = []
    for lps, sign in ((right, right_sign), (down, down_sign)):
        vector = directions[:, best[lps]]
        vectors.append(vector if vector[lps] * sign > 0 else -vector)
    return (best[right], best[down], best[through]), vectors


def outline_mm(mask_zyx: np.ndarray, affine: np.ndarray, plane: str, at: np.ndarray, samples: int = 12) -> np.ndarray:
    """(n, 3) points along the edges of the mask's voxels in the slice through a point."""
    voxels = mask_zyx.transpose(2, 1, 0) > 0
    (across, down, through), _ = screen_axes(affine, plane)
    index = np.linalg.solve(affine, [*at, 1])[:3]
    chosen = round(float(index[through]))
    cut = np.take(voxels, chosen, axis=through)  # its axes are the other two, in order
    if across > down:
        cut = cut.T
    padded = np.pad(cut, 1)
    points = []
    steps = np.linspace(-0.5, 0.5, samples)
    for a, d in np.argwhere(cut):
        for da, dd in ((1, 0), (-1, 0), (0, 1), (0, -1)):
            if not padded[a + 1 + da, d + 1 + dd]:
                for step in steps:
                    point = np.zeros(3)
                    point[across] = a + (da / 2 if da else step)
                    point[down] = d + (dd / 2 if dd else step)
                    point[through] = chosen
                    points.append(affine[:3, :3] @ point + affine[:3, 3])
    return np.array(points)


def on_screen(points_mm: np.ndarray, affine: np.ndarray, plane: str, center, span: float, size) -> np.ndarray:
    """(n, 2) pixels of points, where `span` mm are the smaller side of the pane."""
    _, (right, down) = screen_axes(affine, plane)
    width, height = size
    scale = min(width, height) / span
    from_center = points_mm - np.asarray(center)
    return np.stack([width / 2 + scale * (from_center @ right), height / 2 + scale * (from_center @ down)], axis=1)


def largest_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Hausdorff distance of two sets of points."""
    from scipy.spatial import cKDTree

    return max(cKDTree(a).query(b)[0].max(), cKDTree(b).query(a)[0].max())


def turn_over(store, patient: int, sequence: int) -> None:
    """Mirror the geometry of a scan as corrected headers would: its voxels stay, left and right change places."""
    root = zarr.open_group(store)
    affine = root["affine"][patient, sequence]
    affine[0] *= -1
    root["affine"][patient, sequence] = affine
