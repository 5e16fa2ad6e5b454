"""Stores from elsewhere: foreign, newer, incomplete, or with metadata that mean harm."""

import json
import os
import pickle
import random
import shutil
import struct
import tracemalloc
import warnings
from contextlib import suppress

import google_crc32c
import pytest
import zarr
from numcodecs import Blosc, Pickle, Zstd

import npczarr as npc
from npczarr.errors import NpczarrError, StoreError
from tests.builders import write_cohort
from tests.hostile.corpus import damage, random_edits


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    root = tmp_path_factory.mktemp("pristine")
    write_cohort(root / "source", patients=("001",))
    npc.convert(root / "source", root / "a.zarr", workers=0)
    return root / "a.zarr"


@pytest.fixture
def store(pristine, tmp_path):
    return shutil.copytree(pristine, tmp_path / "a.zarr")


def metadata(store, name=""):
    return store / name / "zarr.json"


def edit(store, name, change):
    """Change the metadata of an array or of the root, in its own file and in the consolidated copy."""
    path = metadata(store, name)
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    if name:
        root = json.loads(metadata(store).read_text())
        change(root["consolidated_metadata"]["metadata"][name])
        metadata(store).write_text(json.dumps(root))


def use(store, *, frugal=False):
    """Open, describe, read and validate a store: results by act, or the error, which must be one of ours."""
    acts = {
        "open": lambda: npc.open(store),
        "info": lambda: npc.info(store),
        "read": lambda: npc.open(store).npc.scan("001", "T1WI").compute(),
        "validate": lambda: npc.validate(store, workers=0),
    }
    found, strange = {}, []
    if frugal:
        tracemalloc.start()
    for name, act in acts.items():
        try:
            found[name] = act()
        except NpczarrError as error:
            found[name] = error
            strange += [] if str(store) in str(error) else [f"{name} does not say where: {error}"]
        except Exception as error:
            strange.append(f"{name}: {type(error).__name__}: {str(error)[:200]}")
    if frugal:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 100e6, f"{peak / 1e6:.0f} MB"
    assert not strange, "\n".join(strange)
    return found


def refused(found):
    return all(isinstance(outcome, StoreError) for outcome in found.values())


def test_a_store_as_it_should_be(store):
    found = use(store)
    assert not any(isinstance(outcome, Exception) for outcome in found.values())
    assert found["validate"] == ()


@pytest.mark.parametrize("version", [None, "2", {}, True, 0, 1, 3, 10**30])
def test_another_schema_is_refused(store, version):
    def change(content):
        content["attributes"]["npczarr_schema"] = version

    edit(store, "", change)
    found = use(store)
    assert refused(found)
    if type(version) is int and version in (1, 3):
        expected = "convert the source into a new store" if version == 1 else "upgrade npczarr"
        assert expected in str(found["open"])


@pytest.mark.slow
@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"\xff\xfe{\0}\0", b'{"a":' * 50_000, b'{"zarr_format": 99}'],
    ids=["empty", "list", "UTF-16", "deep", "format 99"],
)
@pytest.mark.parametrize("name", ["", "image", "status"])
def test_metadata_that_are_no_metadata(store, content, name):
    metadata(store, name).write_bytes(content)
    if name:  # what xarray reads is the consolidated copy, which is as it was
        root = json.loads(metadata(store).read_text())
        root["consolidated_metadata"] = None
        metadata(store).write_text(json.dumps(root))
    found = use(store)
    assert name or refused(found)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["image", "mask", "patient", "sequence", "axis", "status", "message", "shape", "affine", "echo_time"]
)
def test_a_missing_array(store, name):
    shutil.rmtree(store / name)
    root = json.loads(metadata(store).read_text())
    del root["consolidated_metadata"]["metadata"][name]
    metadata(store).write_text(json.dumps(root))
    found = use(store)
    assert isinstance(found["validate"], StoreError) or [f for f in found["validate"] if name in f.problem]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["echo_time", "z_mm", "status", "age"])
def test_a_damaged_table_is_found_though_nothing_else_asks_for_it(store, name):
    chunks = [path for path in (store / name / "c").rglob("*") if path.is_file()]
    assert chunks
    for path in chunks:
        path.write_bytes(path.read_bytes()[:-5])
    found = use(store)["validate"]
    assert [f.problem.partition(":")[0] for f in found] == [name]


def test_an_array_that_is_listed_and_not_there(store):
    shutil.rmtree(store / "status")
    use(store)


def grid(*shape):
    return lambda content: content["chunk_grid"]["configuration"].__setitem__("chunk_shape", list(shape))


def sharded(*inner):
    """Shards of one scan in chunks of the given size, as another program may write them."""
    codecs = [{"name": "bytes", "configuration": {"endian": "little"}}]
    index = [*codecs, {"name": "crc32c"}]
    configuration = {"chunk_shape": list(inner), "codecs": codecs, "index_codecs": index, "index_location": "end"}
    return put("codecs", [{"name": "sharding_indexed", "configuration": configuration}])


def put(key, value):
    return lambda content: content.__setitem__(key, value)


def attribute(key, value):
    return lambda content: content["attributes"].__setitem__(key, value)


HUGE = 2**40
CHANGES = {
    "chunks of a terabyte": ("image", grid(1, 1, HUGE, HUGE, HUGE)),
    "chunks of no voxel": ("image", grid(1, 1, 0, 0, 0)),
    "chunks of fewer than none": ("image", grid(1, 1, -4, 8, 9)),
    "chunks of one dimension": ("image", grid(4)),
    "chunks of text": ("image", grid("4", "4", "4", "4", "4")),
    "chunks over patients": ("image", grid(2, 3, 4, 8, 9)),
    "chunks of a mask of a terabyte": ("mask", grid(1, 1, HUGE, HUGE, HUGE)),
    "chunks of a table of a terabyte": ("z_mm", grid(HUGE, HUGE, HUGE)),
    "chunks of a table of no value": ("spacing", grid(0, 3, 3)),
    "shards": ("image", sharded(1, 1, 1, 8, 9)),
    "shards in chunks of a terabyte": ("image", sharded(1, 1, HUGE, HUGE, HUGE)),
    "shards in chunks of no voxel": ("image", sharded(1, 1, 0, 8, 9)),
    "shards in chunks larger than themselves": ("image", sharded(1, 1, 1, 800, 900)),
    "an image of 2^60 voxels": ("image", put("shape", [1, 3, 2**20, 2**20, 2**20])),
    "an image of 2^90 voxels in chunks of one": ("image", put("shape", [1, 3, 2**30, 2**30, 2**30])),
    "a million patients": ("patient", put("shape", [10**6])),
    "10^15 patients": ("patient", put("shape", [10**15])),
    "a table of 10^15 patients": ("status", put("shape", [10**15, 3])),
    "fewer than no patients": ("patient", put("shape", [-1])),
    "an image of floats": ("image", put("data_type", "float64")),
    "an image of text": ("image", put("data_type", "string")),
    "an image of a type that there is not": ("image", put("data_type", "int7")),
    "a mask of complex numbers": ("mask", put("data_type", "complex128")),
    "a status of numbers": ("status", put("data_type", "float64")),
    "shapes of text": ("shape", put("data_type", "string")),
    "labels of numbers": ("patient", put("data_type", "int64")),
    "a codec that there is not": ("image", put("codecs", [{"name": "evil"}])),
    "no codecs": ("image", put("codecs", [])),
    "codecs that are no list": ("image", put("codecs", 3)),
    "another codec": ("image", put("codecs", [{"name": "bytes", "configuration": {"endian": "little"}}])),
    "no dimensions": ("image", put("dimension_names", None)),
    "dimensions of other names": ("image", put("dimension_names", ["a", "b", "c", "d", "e"])),
    "dimensions of one name": ("image", put("dimension_names", ["z"] * 5)),
    "too few dimensions": ("image", put("dimension_names", ["z"])),
    "dimensions that are numbers": ("image", put("dimension_names", [1, 2, 3, 4, 5])),
    "a fill value of text": ("image", attribute("_FillValue", "x")),
    "a fill value that is a list": ("image", attribute("_FillValue", [1, 2])),
    "a scale factor": ("image", attribute("scale_factor", "evil")),
    "units of time": ("spacing", attribute("units", "days since the beginning")),
    "flag values of no flags": ("status", attribute("flag_values", {"a": [1]})),
    "attributes that are a list": ("image", put("attributes", [1])),
    "coordinates that are a number": ("", attribute("coordinates", 5)),
    "coordinates that are not there": ("", attribute("coordinates", "evil")),
    "a consolidated list": ("", put("consolidated_metadata", [])),
    "consolidated nonsense": (
        "",
        put("consolidated_metadata", {"kind": "inline", "must_understand": False, "metadata": 3}),
    ),
    "a root that is an array": ("", put("node_type", "array")),
    "an array that is a group": ("image", put("node_type", "group")),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CHANGES)
def test_hostile_metadata(store, name):
    array, change = CHANGES[name]
    edit(store, array, change)
    found = use(store, frugal=any(word in name for word in ("terabyte", "2^", "10^", "million")))
    harmless = ("a scale factor", "units of time", "flag values", "coordinates", "consolidated", "a consolidated")
    assert name.startswith(harmless) or found["validate"] or isinstance(found["open"], StoreError), "nobody notices"


def chunk_of(store, name="image"):
    return sorted(path for path in (store / name / "c").rglob("*") if path.is_file())[0]


def crc(data):
    return data + struct.pack("<I", google_crc32c.value(data))


HOSTILE = {
    "bomb": (crc(Blosc("lz4").encode(bytes(300_000_000))), crc(Zstd().encode(bytes(300_000_000)))),
    "too small": (crc(Blosc("lz4").encode(bytes(7))), crc(Zstd().encode(bytes(7)))),
    "too large": (crc(Blosc("lz4").encode(bytes(5000))), crc(Zstd().encode(bytes(500_000)))),
    "nothing": (b"", b""),
    "less than a checksum": (b"\1\2", b"\1\2"),
    "a checksum of nothing": (crc(b""), crc(b"")),
    "half a header": (crc(b"\x02\x01\x00\x01"), crc(b"\x28\xb5\x2f")),
    "2 GB by its header": (
        crc(b"\x02\x01\x21\x02" + struct.pack("<III", 2**31 - 1, 2**31 - 1, 2**31 - 1) + bytes(100)),
        crc(b"\x28\xb5\x2f\xfd\xe0" + struct.pack("<Q", 2**31 - 1) + bytes(100)),
    ),
    "noise": (crc(b"\xff" * 200), crc(b"\xff" * 200)),
    "zeros": (crc(bytes(200)), crc(bytes(200))),
    "another array's chunk": (crc(Zstd().encode(bytes(576))), crc(Blosc("lz4").encode(bytes(288)))),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("name", ["image", "mask", "z_mm", "status", "age"])
def test_hostile_chunks_with_right_checksums(store, kind, name):
    blosc, zstd = HOSTILE[kind]
    chunk_of(store, name).write_bytes(blosc if name == "image" else zstd)
    found = use(store)  # not frugal: zarr's codecs take the memory that a chunk asks for
    assert isinstance(found["read"], StoreError)
    assert found["validate"]


@pytest.mark.slow
def test_damaged_chunks_and_metadata_by_chance(store):
    """Bits flipped, pieces cut or repeated, anywhere in the store: our errors only, and no wrong voxel unnoticed."""
    files = sorted(path for path in store.rglob("*") if path.is_file())
    good = npc.open(store).load()
    for seed in range(15):
        dice = random.Random(seed)
        path = dice.choice(files)
        whole = path.read_bytes()
        path.write_bytes(damage(whole, random_edits(dice)))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of numbers that overflow
                found = use(store)
            if "c" in path.relative_to(store).parts and not found["validate"]:
                with suppress(StoreError):
                    assert npc.open(store).load().equals(good)
        except AssertionError as error:
            raise AssertionError(f"{path.relative_to(store)}, seed {seed}: {error}") from error
        finally:
            path.write_bytes(whole)


def test_a_store_of_the_old_format_is_refused_and_no_pickle_in_it_is_loaded(tmp_path):
    """Zarr 2 lets an array name pickle as a filter: to read one is to run what it says."""

    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "evil"),)

    store = tmp_path / "a.zarr"
    root = zarr.open_group(store, mode="w", zarr_format=2, attributes={"npczarr_schema": 1})
    assert root is not None
    for name, dims in (("patient", 1), ("sequence", 1), ("status", 2), ("image", 5), ("mask", 5), ("shape", 3)):
        folder = store / name
        folder.mkdir()
        (folder / ".zarray").write_text(
            json.dumps(
                {
                    "zarr_format": 2, "shape": [1] * dims, "chunks": [1] * dims, "dtype": "|O", "compressor": None,
                    "fill_value": "", "order": "C", "filters": [Pickle().get_config()],
                }
            )
        )  # fmt: skip
        (folder / ".zattrs").write_text(json.dumps({"_ARRAY_DIMENSIONS": [f"d{i}" for i in range(dims)]}))
        (folder / ".".join("0" * dims)).write_bytes(pickle.dumps(Evil()))
    found = use(store)
    assert refused(found)
    write_cohort(tmp_path / "source", patients=("001",))
    with pytest.raises(NpczarrError):
        npc.convert(tmp_path / "source", store, workers=0)
    assert not (tmp_path / "evil").exists()


def test_a_converter_refuses_a_store_that_is_not_one(store, tmp_path):
    write_cohort(tmp_path / "source", patients=("001",))
    for content in (b"", b"[]", b"\xff", b"{}", b'{"a":' * 50_000):
        metadata(store).write_bytes(content)
        with pytest.raises(NpczarrError) as caught:
            npc.convert(tmp_path / "source", store, workers=0)
        assert str(store) in str(caught.value)


def test_links_in_a_store_lead_nowhere_else(store, tmp_path):
    """A writer replaces an object as a whole: it does not write through a link."""
    outside = tmp_path / "precious"
    outside.write_text("precious")
    chunk = chunk_of(store)
    chunk.unlink()
    chunk.symlink_to(outside)
    write_cohort(tmp_path / "source", patients=("001",))
    npc.convert(tmp_path / "source", store, workers=0, rewrite=("001",))
    assert outside.read_text() == "precious"
