"""A headless browser, and stores whose grids lie in every way in the patient."""

import itertools
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import zarr

import npczarr as npc
from npczarr.model.geometry import Grid
from npczarr.store.chunks import digest
from tests.builders import noise, write_series
from tests.viewer.looking import Looking

FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
)  # fmt: skip
FLIPS = list(itertools.product((False, True), repeat=3))


@pytest.fixture(scope="session")
def browser():
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    program, driver = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
    if not (program and driver):
        pytest.skip("no chromium and chromedriver on the path")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for flag in FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    with webdriver.Chrome(options=options, service=webdriver.ChromeService(driver)) as running:
        yield running


@pytest.fixture
def look(browser) -> Iterator:
    """Open a served store in the browser."""

    @contextmanager
    def opened(served, query: str = "", **size):
        browser.delete_all_cookies()
        looking = Looking(browser, served)
        looking.open(query, **size)
        yield looking

    yield opened
    browser.get("about:blank")
    browser.get_log("browser")


def lumps(shape_zyx) -> np.ndarray:
    """(z, y, x) a mask that looks like no flip or turn of itself."""
    z, y, x = np.indices(shape_zyx)
    body = ((z - 6) / 3.4) ** 2 + ((y - 18) / 8.0) ** 2 + ((x - 24) / 5.0) ** 2 < 1
    arm = (abs(z - 7) < 2) & (abs(y - 22) < 2) & (x > 24) & (x < 40)
    hole = (abs(z - 6) < 2) & (y == 18) & (abs(x - 24) < 2)
    return ((body | arm) & ~hole).astype(np.uint8)


def tilted(degrees: float, spacing=(0.8, 0.9, 4.0)) -> np.ndarray:
    """(4, 4) affine of an axial grid that is turned about an axis of no voxel."""
    axis = np.array([0.5, 0.3, 0.81])
    axis /= np.linalg.norm(axis)
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    turn = np.radians(degrees)
    affine = np.eye(4)
    affine[:3, :3] = (np.eye(3) + np.sin(turn) * cross + (1 - np.cos(turn)) * cross @ cross) * spacing
    affine[:3, 3] = (-20, 13, 31)
    return affine


SAGITTAL = np.array([[0, 0, -4.0, 20], [0.8, 0, 0, -15], [0, -0.9, 0, 40], [0, 0, 0, 1]])


@pytest.fixture(scope="session")
def turned(tmp_path_factory) -> tuple[Path, dict[str, tuple[np.ndarray, np.ndarray]]]:
    """A store of eight flips of one slightly tilted grid, a sagittal and an oblique one; mask and affine of each.

    The masks and affines are those before the flip: what is seen must be the same.
    """
    folder = tmp_path_factory.mktemp("turned")
    shape = (13, 40, 48)
    names = {f"flip{int(z)}{int(y)}{int(x)}": tilted(8) for z, y, x in FLIPS}
    names |= {"oblique": tilted(41), "sagittal": SAGITTAL}
    for number, name in enumerate(names):
        grid = Grid(shape, tilted(8))
        write_series(folder / "source" / name / "T1WI", noise(grid, high=300), grid, series=f"1.2.{number}")
    config = folder / "config.toml"
    config.write_text('[sequences]\nT1WI = { folder = "T1WI", mask = "T1" }\n')
    made = folder / "turned.zarr"
    npc.convert(folder / "source", made, workers=0, config=config)
    root = zarr.open_group(made)
    mask = lumps(shape)
    for p, name in enumerate(root["patient"][:]):
        flips = tuple(bool(int(c)) for c in name[4:]) if name.startswith("flip") else (False, False, False)
        put_scan(root, p, mask, names[name], flips)
    return made, {name: (mask, affine) for name, affine in names.items()}


def put_scan(root: zarr.Group, p: int, mask: np.ndarray, affine: np.ndarray, flips: tuple[bool, ...]) -> None:
    """Put another grid and mask into a store, voxels flipped along z, y, x and the affine with them."""
    window = tuple(slice(None, None, -1 if flip else 1) for flip in flips)
    z, y, x = mask.shape
    back = np.eye(4)
    for axis, (flip, n) in enumerate(zip(flips[::-1], (x, y, z), strict=True)):
        if flip:
            back[axis, axis], back[axis, 3] = -1, n - 1
    image = noise(Grid(mask.shape, affine), high=300)
    for name, values in (("image", image[window]), ("mask", mask[window])):
        root[name][p, 0, :z, :y, :x] = values
        root[f"{name}_digest"][p, 0] = digest(np.ascontiguousarray(values))
    root["affine"][p, 0] = affine @ back
    root["spacing"][p, 0] = np.linalg.norm(affine[:3, :3], axis=0)[::-1]
    root["mask_status"][p, 0] = root["status"][p, 0] = "ok"
    root["mask_voxels"][p, 0] = int(mask.sum())


def log_of(browser) -> list[dict]:
    return [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
