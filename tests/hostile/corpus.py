"""Small valid files of every kind that npczarr reads, ways to damage them, and the readers that must survive it."""

from __future__ import annotations

import atexit
import gzip
import io
import json
import random
import shutil
import struct
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import pydicom
import tifffile
import zarr
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import JPEG2000Lossless, JPEGLosslessSV1, JPEGLSLossless, RLELossless

import npczarr as npc
from npczarr.errors import NpczarrError, SourceError
from npczarr.model.cohort import Cohort, File, ScanFiles
from npczarr.model.label_set import Label
from npczarr.model.limits import Limits
from npczarr.privacy.audit import _in_content
from npczarr.privacy.clean import clean_dicom
from npczarr.sources.config import SourceConfig, load_config
from npczarr.sources.dicom import peek, read_scan
from npczarr.sources.discover import discover
from npczarr.sources.files import open_source
from npczarr.sources.nifti import read_mask
from npczarr.sources.nifti_image import peek_nifti, read_nifti_scan
from npczarr.sources.raters import read_raters
from npczarr.sources.structures.masks import draw_labels, read_object
from npczarr.sources.tables import read_tables
from npczarr.store.review_digests import input_digests
from tests.builders import (
    SYNTAXES,
    blob,
    enhanced_dataset,
    nifti_image,
    noise,
    oblique_grid,
    slice_dataset,
    write_cohort,
)
from tests.hostile.wire import Wire
from tests.sources.structures.build import box, contour_item, rtstruct, seg, straight_grid, to_mm

GRID = oblique_grid((3, 6, 7), seed=1)
STRAIGHT = straight_grid((4, 8, 9))
SMALL = Limits(scan_gb=0.02, files_gb=0.1, scan_seconds=10)
Edit = tuple[str, float, float, bytes]
#: Numbers that sizes and counts are checked too late for.
INTERESTING = [
    struct.pack(order + kind, value)
    for order in "<>"
    for kind, values in {
        "B": (0, 1, 127, 128, 255),
        "H": (0, 1, 32767, 32768, 60000, 65535),
        "I": (0, 1, 2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1),
        "Q": (0, 2**40, 2**63 - 1, 2**63, 2**64 - 1),
        "f": (float("nan"), float("inf"), -1.0, 1e38),
    }.items()
    for value in values
]


class Held:
    """A source whose files are in memory."""

    url = "memory"

    def __init__(self, contents: Mapping[str, bytes], limits: Limits = SMALL) -> None:
        self.contents = dict(contents)
        self.limits = limits

    def files(self) -> list[File]:
        return [File(path, len(content), "") for path, content in self.contents.items()]

    def read(self, paths: Sequence[str]) -> list[bytes | Exception]:
        return [self.contents[path] for path in paths]


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Valid examples; what reads one of them (in a scratch folder) as a conversion would; and how it is packed once it is
    damaged, so that the damage lies behind a checksum that is right.
    """

    examples: Callable[[], list[bytes]]
    read: Callable[[bytes, Path], object]
    pack: Callable[[bytes], bytes] = bytes


def damage(content: bytes, edits: Sequence[Edit], other: bytes = b"") -> bytes:
    """Apply edits to a file: each has a name, two places as fractions, and bytes."""
    for name, at, to, value in edits:
        first, last = int(at * len(content)), int(to * len(content))
        if name == "flip":
            spoilt = bytearray(content)
            for i, mask in zip(range(first, len(spoilt)), value, strict=False):
                spoilt[i] ^= mask
            content = bytes(spoilt)
        elif name == "cut":
            content = content[:first]
        elif name == "write":
            content = content[:first] + value + content[first + len(value) :]
        elif name == "insert":
            content = content[:first] + value + content[first:]
        elif name == "drop":
            content = content[: min(first, last)] + content[max(first, last) :]
        elif name == "repeat":
            content = content[: max(first, last)] + content[min(first, last) :]
        elif name == "splice":
            content = content[:first] + other[int(to * len(other)) :]
    return content[: 2**20]


def random_edits(dice: random.Random) -> list[Edit]:
    """One to four edits, most of them near the head, where the sizes are."""

    def place() -> float:
        return dice.random() ** dice.choice((1, 1, 3))

    def value() -> bytes:
        some = dice.randbytes(dice.randint(1, 6))
        return dice.choice((dice.choice(INTERESTING), bytes([1 << dice.randrange(8)]), some))

    names = ("flip", "flip", "write", "write", "insert", "cut", "drop", "repeat", "splice")
    return [(dice.choice(names), place(), place(), value()) for _ in range(dice.randint(1, 4))]


def as_bytes(dataset: Dataset) -> bytes:
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


@cache
def dicom_slices() -> dict[str, list[bytes]]:
    """Three slices of one volume in every transfer syntax but JPEG, for which there is no encoder."""
    volume = noise(GRID)
    found = {name: [as_bytes(slice_dataset(volume[z], GRID, z, syntax=name)) for z in range(3)] for name in SYNTAXES}
    larger = oblique_grid((3, 40, 36), seed=1)  # what OpenJPEG can encode
    for name, syntax, grid in (
        ("RLE", RLELossless, GRID),
        ("JPEG-LS", JPEGLSLossless, GRID),
        ("JPEG 2000", JPEG2000Lossless, larger),
    ):
        found[name] = []
        for z, values in enumerate(noise(grid)):
            dataset = slice_dataset(values, grid, z)
            dataset.compress(syntax)
            found[name].append(as_bytes(dataset))
    nested = []
    for z in range(3):
        dataset = slice_dataset(volume[z], GRID, z)
        dataset.ReferencedImageSequence = Items([deep(12)])
        dataset["ReferencedImageSequence"].is_undefined_length = True
        nested.append(as_bytes(dataset))
    found["nested"] = nested
    return found


def deep(levels: int) -> Dataset:
    """Sequences in sequences."""
    item = Dataset()
    item.CodeValue = "x"
    for _ in range(levels):
        outer = Dataset()
        outer.ReferencedImageSequence = Items([item])
        item = outer
    return item


@cache
def compressed_slices(folder: Path) -> dict[str, bytes]:
    """Real compressed slices by transfer syntax, from a folder of real data."""
    found: dict[str, bytes] = {}
    for path in sorted(folder.rglob("*.dcm")):
        dataset = pydicom.dcmread(path, stop_before_pixels=True)
        syntax = dataset.file_meta.TransferSyntaxUID
        if syntax in (JPEG2000Lossless, JPEGLosslessSV1, JPEGLSLossless, RLELossless):
            content = path.read_bytes()
            if len(content) < len(found.get(syntax, b"x" * 400_000)):
                found[syntax] = content
    return found


def read_dicom(content: bytes, folder: Path) -> None:
    """Read a series whose middle slice is this file, and one that is this file alone."""
    whole = dicom_slices()["explicit"]
    for contents in ({"1": whole[0], "2": content, "3": whole[2]}, {"1": content}):
        source = Held(contents)
        both(partial(peek, source, source.files()), partial(read_scan, source, source.files()))


def both(*calls: Callable[[], object]) -> None:
    """Make every call, whatever the others raise; raise the first error that was not meant to be."""
    for call in calls:
        with suppress(SourceError):
            call()


@cache
def enhanced() -> bytes:
    return as_bytes(enhanced_dataset(noise(GRID), GRID, (0, 1, 2)))


@cache
def niftis() -> list[bytes]:
    return [
        nifti_image(blob(GRID), GRID, dtype=dtype, version=version, flips=flips).to_bytes()
        for dtype, version, flips in (("uint8", 1, ()), ("float32", 1, (1,)), ("int16", 2, (0, 2)))
    ]


def read_nifti(content: bytes, folder: Path) -> None:
    source = Held({"ROI-T1.nii": content})
    read_mask(source, source.files(), GRID)


def read_nifti_image(content: bytes, folder: Path) -> None:
    """Read an image of NIfTI beside a sidecar, and a sound one beside a sidecar that is this."""
    for contents in (
        {"sub-1_T1w.nii": content, "sub-1_T1w.json": b'{"EchoTime": 0.01}'},
        {"sub-1_T1w.nii": niftis()[2], "sub-1_T1w.json": content},
    ):
        source = Held(contents)
        both(partial(peek_nifti, source, source.files()), partial(read_nifti_scan, source, source.files()))


@cache
def sidecars() -> list[bytes]:
    return [b'{"EchoTime": 0.01, "RepetitionTime": 2.5, "ImageType": ["ORIGINAL", "PRIMARY"], "SliceTiming": [0, 1.5]}']


@cache
def rtstructs() -> list[bytes]:
    contours = [contour_item(to_mm(STRAIGHT, box(1, 1, 6, 6), z)) for z in range(3)]
    return [rtstruct({"GTV": contours, "CTV": contours[:1]}), rtstruct({"GTV": contours})]


@cache
def segmentations() -> list[bytes]:
    frames = [(1, z, blob(STRAIGHT)[z]) for z in range(3)]
    return [seg(STRAIGHT, frames, **options) for options in ({}, {"kind": "FRACTIONAL"}, {"kind": "LABELMAP"})]


def read_outlines(content: bytes, folder: Path) -> None:
    """Draw the outlines of a file, without labels and with declared ones."""
    found = read_object(content, SMALL)
    declared = (Label("gtv", 1, rois=("GTV",), segments=(1,)), Label("ctv", 2, rois=("CTV",), segments=(2,)))
    both(*(partial(draw_labels, [found], labels, STRAIGHT, image=None, limits=SMALL) for labels in ((), declared)))


@cache
def tiffs() -> list[bytes]:
    found = []
    for compression in (None, "zlib", "packbits"):
        buffer = io.BytesIO()
        try:
            tifffile.imwrite(buffer, blob(GRID)[1] * 255, compression=compression)
        except (ImportError, ValueError, KeyError):  # codecs of imagecodecs, which is not needed
            continue
        found.append(buffer.getvalue())
    return found


def read_tiff(content: bytes, folder: Path) -> None:
    source = Held({"a/1/T1_1_mask.tif": content, "b/1/T1_1_mask.tif": tiffs()[0]})
    files = tuple(source.files())
    read_raters(source, ScanFiles("1", "T1", masks=files, raters=("a", "b")), ("a", "b"))


CSV = '编号,Age,T stage,EBV DNA\r\n1,50,T1,"1,200"\r\n2,61,T3,?\r\n3,,T4,0\r\n'


def tables() -> list[bytes]:
    return [CSV.encode(encoding) for encoding in ("utf-8", "utf-8-sig", "gb18030", "utf-16")] + [
        CSV.replace(",", ";").encode()
    ]


def read_table(content: bytes, folder: Path) -> None:
    cohort = Cohort(("001", "002", "003"), ("T1",), {}, tables=(File("info.csv", len(content), ""),))
    read_tables(Held({"info.csv": content}), cohort, SourceConfig())


def configs() -> list[bytes]:
    return [
        b'[layout]\nimages = "{patient}/scans/{sequence}/*.ima"\nmasks = ["{patient}/{sequence}/tumour*.nii"]\n'
        b'tables = "t/*.txt"\n[sequences]\nT2 = { folder = "t2", mask = "T2" }\n[columns]\n"Alter" = "age"\n'
        b"[limits]\nscan_gb = 2.5\n"
    ]


PATHS = ["001/scans/t2/1.ima", "a" * 200 + "/scans/" + "a" * 200, "001/t2/tumour 1.nii", "../x", "/".join("a" * 500)]


def read_config(content: bytes, folder: Path) -> None:
    from npczarr.sources.discover import sort_files, sort_raters

    path = folder / "layout.toml"
    path.write_bytes(content)
    config = load_config(path)
    files = [File(path, 1, "") for path in PATHS]
    sort_files(files, config)
    sort_raters(files, config)


@cache
def archives() -> list[bytes]:
    found = []
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", method) as file:
            for z, content in enumerate(dicom_slices()["explicit"]):
                file.writestr(f"001/T1WI/{z}.dcm", content)
            file.writestr("001/ROI-T1.nii", niftis()[0])
            file.writestr("患者/T1WI/1.dcm", dicom_slices()["explicit"][0])
        found.append(buffer.getvalue())
    return found


def read_archive(content: bytes, folder: Path) -> None:
    path = folder / "cohort.zip"
    path.write_bytes(content)
    from npczarr.sources.files import _open

    _open.cache_clear()
    source = open_source(path, limits=SMALL)
    cohort = discover(source, SourceConfig())
    for scan in cohort.scans.values():
        both(partial(read_scan, source, scan.images))
        if scan.masks:
            both(partial(read_mask, source, scan.masks, GRID))


def read_private(content: bytes, folder: Path) -> None:
    """Look for what identifies a patient, and take it out."""
    both(
        partial(_in_content, "1/T1WI/1.dcm", content, SMALL),
        partial(clean_dicom, content, b"a secret of many bytes", "1", SMALL),
    )


@cache
def stored() -> dict[str, bytes]:
    """Every file of a small store."""
    with tempfile.TemporaryDirectory() as folder:
        write_cohort(Path(folder, "source"), patients=("001",))
        store = Path(folder, "a.zarr")
        npc.convert(Path(folder, "source"), store, workers=0)
        return {str(path.relative_to(store)): path.read_bytes() for path in store.rglob("*") if path.is_file()}


def read_store(content: bytes, folder: Path, *, name: str) -> None:
    """Open, describe, load and validate a store in which one file is this."""
    store = folder / "a.zarr"
    if not store.exists():
        for path, whole in stored().items():
            (store / path).parent.mkdir(parents=True, exist_ok=True)
            (store / path).write_bytes(whole)
    (store / name).write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of numbers that overflow
        for act in (partial(npc.info, store), lambda: npc.open(store).load(), partial(npc.validate, store, workers=0)):
            with suppress(NpczarrError):
                act()


def of_store(name: str) -> Kind:
    return Kind(lambda: [stored()[name]], partial(read_store, name=name))


SECRET = b"what lies beside the store"


@cache
def served() -> Wire:
    """A viewer's server of a small store, beside a file that is nobody's business."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    (folder / "secret.json").write_bytes(SECRET)
    for path, whole in stored().items():
        (folder / "a.zarr" / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / "a.zarr" / path).write_bytes(whole)
    wire = Wire(folder / "a.zarr")
    atexit.register(wire.close)
    return wire


@cache
def requests() -> list[bytes]:
    """Requests of the page as they are sent, one of them for what lies beside the store."""
    found = served()
    head = f" HTTP/1.1\r\nHost: 127.0.0.1:{found.port}\r\nCookie: {found.cookie}\r\n"
    paths = ("/", "/store/zarr.json", "/store/image/c/0/0/0/0/0", "/store/../secret.json", "/store/%2e%2e/secret.json",
             "/about.json", "/store/status/lease.json", "/assets/viewer.js", "/review.json",
             "/predictions/0/1")  # fmt: skip
    end = "Connection: close\r\n\r\n"
    key = ("001", "T1WI")
    seen = input_digests(zarr.open_group(found.store, mode="r"), [key])[key]
    sent = dict(
        zip(("patient", "sequence"), key, strict=True), decision="accept", reason="", note="x", input_digest=seen,
        before="",
    )  # fmt: skip
    body = json.dumps([sent]).encode()
    mark = f"Origin: http://127.0.0.1:{found.port}\r\nContent-Type: application/json\r\n"
    posted = f"POST /review.json{head}{mark}Content-Length: {len(body)}\r\n{end}".encode() + body
    return [*(f"GET {path}{head}{end}".encode() for path in paths), posted]


def ask(content: bytes, folder: Path) -> None:
    """Send a request as it is: no answer is an error of the server or holds what lies beside the store; it lives on."""
    answer = served().answer(content)
    for one in answer.split(b"HTTP/1.1 ")[1:]:
        assert not one.startswith(b"5"), one[:200]
    assert SECRET not in answer
    assert served().answer(requests()[0]).startswith(b"HTTP/1.1 200"), "the server has ended"


#: Too slow for the tests, which do less of the same.
SLOW_KINDS = {
    "store, metadata": of_store("zarr.json"),
    "store, chunk": of_store("image/c/0/0/0/0/0"),
}
KINDS = {
    "DICOM": Kind(lambda: [slices[1] for slices in dicom_slices().values()], read_dicom),
    "DICOM, enhanced": Kind(lambda: [enhanced()], read_dicom),
    "DICOM, audited and de-identified": Kind(lambda: [slices[1] for slices in dicom_slices().values()], read_private),
    "NIfTI": Kind(niftis, read_nifti),
    "NIfTI, gzipped": Kind(lambda: [gzip.compress(content, mtime=0) for content in niftis()], read_nifti),
    "NIfTI, damaged and then gzipped": Kind(niftis, read_nifti, lambda content: gzip.compress(content, 1, mtime=0)),
    "NIfTI image": Kind(niftis, read_nifti_image),
    "sidecar of a NIfTI image": Kind(sidecars, read_nifti_image),
    "RTSTRUCT": Kind(rtstructs, read_outlines),
    "SEG": Kind(segmentations, read_outlines),
    "TIFF": Kind(tiffs, read_tiff),
    "CSV": Kind(tables, read_table),
    "TOML": Kind(configs, read_config),
    "zip": Kind(archives, read_archive),
    "request to the viewer's server": Kind(requests, ask),
}
