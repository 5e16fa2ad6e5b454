"""FORMAT.md says what the schema says, and the readers that were written from it read what npczarr reads.

``python -m tests.test_format`` writes the tables of FORMAT.md anew.
"""

import json
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import xxhash
import zarr

import npczarr as npc
from npczarr.model.results import AGREEMENT, MESSAGE, MORPHOLOGY
from npczarr.model.schema import INDEXES, RATER, SCAN_TABLES, STATUSES, voxel_variables
from npczarr.store.describe import root_attributes

ROOT = Path(__file__).resolve().parents[1]
FORMAT = ROOT / "npczarr/store/FORMAT.md"
READERS = ROOT / "examples"


def table(head: str, rows: list[tuple[str, ...]]) -> str:
    lines = [head, "|---" * (head.count("|") - 1) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)])


def arrays() -> str:
    rows = []
    for variable in (*voxel_variables("int16"), *INDEXES, RATER, *SCAN_TABLES):
        kind = "int16, int32 or float32" if variable.name == "image" else variable.dtype
        words = variable.description + (
            f" ({variable.attributes['algorithm']})" if "algorithm" in variable.attributes else ""
        )
        where = "index" if variable.dims == (variable.name,) else "yes" if variable.coordinate else ""
        rows.append((f"`{variable.name}`", ", ".join(variable.dims), kind, variable.units or "", where, words))
    return table("| array | dimensions | type | units | coordinate | what it holds |", rows)


def results() -> str:
    rows = [
        (group, f"`{variable.name}`", ", ".join(variable.dims), variable.units or "", variable.description)
        for group, variables in (
            ("`morphology`", MORPHOLOGY),
            ("`agreement`, `score/…`", AGREEMENT),
            ("`score/…`", (MESSAGE,)),
        )
        for variable in variables
    ]
    return table("| group | array | dimensions | units | what it holds |", rows)


def statuses() -> str:
    return table("| status | meaning |", [(f"`{status}`", meaning) for status, meaning in STATUSES.items()])


PARTS = {"arrays": arrays, "statuses": statuses, "results": results}


def section(name: str) -> re.Pattern[str]:
    return re.compile(rf"(<!-- {name}: made from [^\n]* -->\n)(.*?)(<!-- end of {name} -->)", re.DOTALL)


@pytest.mark.parametrize("name", PARTS)
def test_tables_are_those_of_the_registry(name):
    found = section(name).search(FORMAT.read_text(encoding="utf-8"))
    assert found is not None
    assert found[2].strip() == PARTS[name](), "run python -m tests.test_format"


def test_the_page_names_every_root_attribute(store):
    text = FORMAT.read_text(encoding="utf-8")
    named = set(re.findall(r"`([\w]+)`", text.split("## Root attributes")[1].split("## Results")[0]))
    assert set(root_attributes("int16", rated=False, of={})) <= named
    assert set(xr.open_zarr(store, chunks=None).attrs) <= named


@pytest.mark.parametrize("page", [FORMAT, ROOT / "npczarr/README.md"], ids=["FORMAT", "house"])
def test_every_file_and_name_that_a_page_points_to_is_there(page):
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?://)([^)#]+)\)", text):
        assert (page.parent / target).resolve().exists(), target
    for named in re.findall(r"`((?:\w+/)*\w+\.(?:py|md|mjs))`", text):
        assert any((base / named).exists() for base in (ROOT, ROOT / "npczarr")), named


def test_every_name_in_capitals_that_the_house_points_to_is_in_the_source():
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "npczarr").rglob("*.py"))
    names = re.findall(r"`([A-Z_]{4,}|[A-Z][a-z]+[A-Z]\w+)`", (ROOT / "npczarr/README.md").read_text(encoding="utf-8"))
    assert names
    for name in names:
        assert re.search(rf"\b{name}\b", source), name


def test_chunks_codecs_and_objects_are_as_the_page_says(store):
    root = zarr.open_group(store, mode="r")
    codecs = {name: [codec["name"] for codec in array.metadata.to_dict()["codecs"]] for name, array in root.arrays()}
    assert codecs["image"] == ["bytes", "blosc", "crc32c"]
    for name, array in root.arrays():
        encoding = array.metadata.to_dict()["chunk_key_encoding"]
        assert encoding == {"name": "default", "configuration": {"separator": "/"}}
        assert array.shards is None
        if name in ("image", "mask"):
            assert array.chunks[:2] == (1, 1)
            continue
        text = array.metadata.to_dict()["data_type"] == "string"
        assert codecs[name] == ["vlen-utf8" if text else "bytes", "zstd", "crc32c"]
        expected = {"patient": 4096, "z": 64}
        assert array.chunks == tuple(
            expected.get(d, n) for d, n in zip(array.metadata.dimension_names, array.shape, strict=True)
        )
        assert array.nchunks_initialized == array.nchunks
    below = {path.name for path in Path(store).iterdir() if path.is_dir()} - set(root.array_keys())
    assert below <= {"morphology", "agreement", "score"}


def test_digests_and_geometry_are_as_the_page_says(store):
    ds = xr.open_zarr(store, chunks=None, mask_and_scale=False)
    for p, s in np.ndindex(*ds.status.shape):
        z, y, x = ds["shape"].values[p, s]
        for name in ("image", "mask"):
            voxels = ds[name].values[p, s, :z, :y, :x]
            little = np.ascontiguousarray(voxels).astype(voxels.dtype.newbyteorder("<"))
            assert xxhash.xxh3_128_hexdigest(little.tobytes()) == ds[f"{name}_digest"].values[p, s]
            outside = ds[name].values[p, s].copy()
            outside[:z, :y, :x] = ds[name].attrs.get("_FillValue", 0)
            assert (outside == ds[name].attrs.get("_FillValue", 0)).all()
        affine = ds.affine.values[p, s]
        lengths = np.linalg.norm(affine[:3, :3], axis=0)
        np.testing.assert_allclose(lengths[::-1], ds.spacing.values[p, s])
        centers = affine @ np.stack([np.zeros(z), np.zeros(z), np.arange(z), np.ones(z)])
        along = (affine[:3, 2] / lengths[2]) @ centers[:3]
        np.testing.assert_allclose(ds.z_mm.values[p, s, :z], along, atol=1e-6)
        assert np.isnan(ds.z_mm.values[p, s, z:]).all()


def scans(url):
    """Every scan of a store as npczarr reads it: stored values, mask, and its row."""
    ds = npc.open(url, dask=False)
    for patient in ds.patient.values:
        for sequence in ds.sequence.values:
            yield str(patient), str(sequence), ds.npc.scan(str(patient), str(sequence)).load()


def assert_tables(found, scan):
    """Hold the tables that a reader gave, by name, against a scan of npczarr."""
    for name, ours in (("spacing", "spacing"), ("affine", "affine"), ("slope", "rescale_slope")):
        np.testing.assert_array_equal(found[name], scan[ours].values)
    np.testing.assert_array_equal(found["intercept"], scan["rescale_intercept"].values)
    assert found["status"] == str(scan.status.values)


@pytest.mark.slow
@pytest.mark.parametrize("which", ["store", "raters"])
def test_the_python_reader_reads_what_npczarr_reads(which, request):
    url = request.getfixturevalue(which)
    read_scan = runpy.run_path(str(READERS / "read_store.py"))["read_scan"]
    seen = 0
    for patient, sequence, scan in scans(url):
        found = read_scan(str(url), patient, sequence)
        np.testing.assert_array_equal(found.image, scan.image.values)
        np.testing.assert_array_equal(found.mask, scan.mask.values)
        assert (found.image.dtype, found.mask.dtype) == (scan.image.dtype, scan.mask.dtype)
        assert_tables(vars(found) | {"spacing": found.spacing_zyx_mm}, scan)
        seen += int(found.mask.any())
    assert seen


def test_the_python_reader_is_short_and_needs_numpy_and_zarr_only(store):
    text = (READERS / "read_store.py").read_text(encoding="utf-8")
    assert text.count("\n") <= 100
    tops = set(re.findall(r"^(?:import|from) (\w+)", text, re.MULTILINE)) - set(sys.stdlib_module_names)
    assert tops == {"numpy", "zarr"}
    done = subprocess.run(
        [sys.executable, "-W", "error", READERS / "read_store.py", store, "002", "T1WI"],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.stderr == ""
    assert done.stdout.startswith("ok: (")


def test_the_python_reader_refuses_what_is_damaged_or_not_stored(store, tmp_path):
    read_scan = runpy.run_path(str(READERS / "read_store.py"))["read_scan"]
    copy = shutil.copytree(store, tmp_path / "copy.zarr")
    (copy / "mask/c/1/0/0/0/0").unlink()
    with pytest.raises(FileNotFoundError, match="mask/c/1/0/0/0/0 is absent"):
        read_scan(str(copy), "002", "T1WI")
    zarr.open_array(copy, path="status", mode="r+")[0, 0] = "refused"
    with pytest.raises(ValueError, match="001/T1WI is refused"):
        read_scan(str(copy), "001", "T1WI")
    with pytest.raises(KeyError, match="no patient '999'"):
        read_scan(str(copy), "999", "T1WI")


@pytest.fixture(scope="module")
def node_reader(tmp_path_factory):
    """The JavaScript reader with what ``npm ci`` installs beside it."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node or npm is not installed")
    folder = tmp_path_factory.mktemp("node")
    for name in ("read_store.mjs", "package.json", "package-lock.json"):
        shutil.copy(READERS / name, folder)
    command = ["npm", "ci", "--no-audit", "--no-fund", "--prefer-offline", "--fetch-retries=1"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        unreachable = re.search(
            r"ENOTFOUND|ECONNREFUSED|ETIMEDOUT|EAI_AGAIN|ECONNRESET|ENETUNREACH|network", done.stderr
        )
        assert unreachable, done.stderr
        pytest.skip("the registry of npm cannot be reached")
    return folder / "read_store.mjs"


def node(reader, url, patient, sequence, *out):
    command = ["node", str(reader), str(url), patient, sequence, *map(str, out)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.slow
@pytest.mark.parametrize("which", ["store", "raters"])
def test_the_javascript_reader_reads_what_npczarr_reads(which, request, node_reader, tmp_path):
    url = request.getfixturevalue(which)
    seen = 0
    for patient, sequence, scan in scans(url):
        done = node(node_reader, url, patient, sequence, tmp_path / "scan")
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        assert found["shape"] == list(scan.image.shape)
        for name in ("image", "mask"):
            stored = scan[name].values
            if name == "image" and which == "raters":
                assert not (tmp_path / "scan.image").exists()
                continue
            voxels = np.fromfile(tmp_path / f"scan.{name}", stored.dtype.newbyteorder("<"))
            np.testing.assert_array_equal(voxels.reshape(stored.shape), stored)
        numbers = ("spacing", "slope", "intercept")  # JSON has no NaN: null
        found |= {name: np.array(found[name], float) for name in numbers}
        assert_tables(found | {"affine": np.reshape(found["affine"], (4, 4))}, scan)
        seen += int(scan.mask.values.any())
    assert seen


def test_the_javascript_reader_refuses_what_is_damaged(store, node_reader, tmp_path):
    copy = shutil.copytree(store, tmp_path / "copy.zarr")
    (copy / "image/c/1/0/0/0/0").unlink()
    done = node(node_reader, copy, "002", "T1WI")
    assert done.returncode != 0
    assert "image/c/1/0/0/0/0 is absent" in done.stderr


def written_anew(page: str, name: str) -> str:
    return section(name).sub(lambda match: f"{match[1]}\n{PARTS[name]()}\n\n{match[3]}", page)


if __name__ == "__main__":
    page = FORMAT.read_text(encoding="utf-8")
    for part in PARTS:
        page = written_anew(page, part)
    FORMAT.write_text(page, encoding="utf-8")
