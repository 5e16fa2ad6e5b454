"""Nothing that identifies a patient leaves a source: all that can is planted, much of it damaged, and looked for.

The tokens are searched for in the bytes of every file that comes out, in every array as it is read back, in all that is
printed or logged, in the names and values of Dask graphs and in the report. What the user asked for by path is no leak:
messages that end a run name the source as it was given.
"""

import gzip
import json
import logging
import pickle
import re
import shutil
import struct
import subprocess
import sys
from functools import cache
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
import zarr
from pydicom.datadict import dictionary_VR, keyword_for_tag
from pydicom.dataset import Dataset

import npczarr as npc
from npczarr.privacy.audit import audit
from npczarr.privacy.deidentify import deidentify
from npczarr.privacy.profile import table

TOKEN = "ZQXPLANT"
UID = "1.2.826.0.1.3680043.9.7777"
NUMBER = 77187605
TOKENS = (TOKEN, UID, "18760521", "187Y", str(NUMBER), "7.71876", "ZZ9PLANT")
PLANTED = {
    **dict.fromkeys(("AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UT"), TOKEN),
    **dict.fromkeys(("OB", "UN", "OW"), TOKEN.encode()),
    **dict.fromkeys(("FD", "FL"), float(NUMBER)), **dict.fromkeys(("SL", "UL", "SV", "UV"), NUMBER),
    "AS": "187Y", "DA": "18760521", "DT": "18760521101010", "TM": "184605", "UI": UID + ".1",
    "DS": str(NUMBER), "IS": str(NUMBER), "UR": f"http://{TOKEN}.invalid",
}  # fmt: skip
BYTES = [t.encode(code) for t in TOKENS for code in ("utf-8", "utf-16-le")]
BYTES += [struct.pack(order + kind, NUMBER) for order in "<>" for kind in "dI"]


@cache
def planted() -> Dataset:
    """Every attribute of table E.1-1, repeating groups, private blocks and nested levels."""
    dataset = Dataset()
    for tag in (t for t in table.ALL_TAGS if len(t) == 2 and 2 < t[0] < 0xFF00):
        keyword = keyword_for_tag(tag)
        if not keyword:
            continue
        vr = dictionary_VR(tag).split(" or ")[0]
        if vr == "SQ":
            item = Dataset()
            item.PatientName, item.OperatorsName, item.StudyDate = TOKEN, TOKEN, "18760521"
            item.private_block(0x0029, f"{TOKEN} PRIVATE", create=True).add_new(1, "LO", TOKEN)
            dataset.add_new(tag, vr, [item])
        elif vr in PLANTED and keyword not in ("SOPInstanceUID", "SeriesInstanceUID"):
            dataset.add_new(tag, vr, PLANTED[vr])
    assert len(dataset) > 300
    for tag, vr in ((0x50000022, "LO"), (0x50020040, "SH"), (0x60000022, "LO"), (0x60021500, "LO"), (0x60003000, "OW")):
        dataset.add_new(tag, vr, PLANTED[vr])
    dataset.private_block(0x0029, f"{TOKEN} PRIVATE", create=True).add_new(1, "LO", TOKEN)
    return dataset


def damaged_values(path: Path) -> None:
    """Spoil a field in the file itself: what a library says of it must not be passed on."""
    content = path.read_bytes()
    for tag in (b"\x28\x00\x30\x00", b"\x20\x00\x32\x00"):  # PixelSpacing, ImagePositionPatient; implicit VR
        at = content.rindex(tag) + 8
        length = int.from_bytes(content[at - 4 : at], "little")
        content = content[:at] + (TOKEN * 20).encode()[:length] + content[at + length :]
    path.write_bytes(content)


def headers(**values):
    def spoil(folder: Path) -> None:
        for path in folder.glob("*.dcm"):
            dataset = pydicom.dcmread(path)
            for keyword, value in values.items():
                with pydicom.config.disable_value_validation():
                    if value is None:
                        del dataset[keyword]
                    else:
                        dataset.add_new(keyword, dictionary_VR(keyword), value)
            dataset.save_as(path)

    return spoil


def second_series(folder: Path) -> None:
    for path in sorted(folder.glob("*.dcm"))[:2]:
        dataset = pydicom.dcmread(path)
        dataset.SeriesInstanceUID = f"{UID}.44"
        dataset.SOPInstanceUID = f"{dataset.SOPInstanceUID}.3"
        dataset.save_as(folder / f"{TOKEN} other {path.name}")


def undecodable(folder: Path) -> None:
    for path in folder.glob("*.dcm"):
        dataset = pydicom.dcmread(path)
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.JPEGLSLossless
        dataset.PixelData = pydicom.encaps.encapsulate([b"no JPEG" * 4])
        dataset["PixelData"].is_undefined_length = True
        dataset.save_as(path)


#: By patient and sequence: what is done to a folder, and a part of what is then said.
SCANS = {
    ("002", "T1WI"): (lambda f: damaged_values(sorted(f.glob("*.dcm"))[1]), "no usable"),
    ("002", "T2WI"): (lambda f: cut(sorted(f.glob("*.dcm"))[1]), "copy it again"),
    ("002", "CE-T1WI"): (headers(PixelSpacing=None), "PixelSpacing"),
    ("003", "T1WI"): (headers(BitsAllocated=None), "BitsAllocated"),
    ("003", "T2WI"): (headers(PhotometricInterpretation=TOKEN[:3] * 2, SamplesPerPixel=3), "3 samples"),
    ("003", "CE-T1WI"): (undecodable, "compressed pixels"),
    ("004", "T1WI"): (second_series, "2 series in the folder"),
    ("004", "T2WI"): (lambda f: (f / f"{TOKEN} report.pdf").write_text(TOKEN), "passed over: not DICOM"),
    ("004", "CE-T1WI"): (lambda f: (f / f"{TOKEN}.txt").symlink_to(f / f"{TOKEN} nowhere"), "cannot be read"),
}


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-50])


def spoil_masks(patient: Path) -> None:
    """One that is no NIfTI, one on another grid, one whose packing is damaged."""
    paths = sorted(patient.glob("ROI-*.nii"))
    paths[0].write_bytes(TOKEN.encode() * 100)
    image = nib.load(paths[1], mmap=False)
    shifted = image.affine.copy()
    shifted[:3, 3] += 4000
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj), shifted, image.header), paths[1])
    paths[2].unlink()
    paths[2].with_suffix(".nii.gz").write_bytes(gzip.compress(TOKEN.encode() * 1000)[:-9])


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    cohort = tmp_path_factory.mktemp("made") / "cohort"
    npc.make_cohort(cohort, patients=5, workers=0)
    root = tmp_path_factory.mktemp("planted")
    folder = root / f"{TOKEN} hospital" / "1876-05-21"
    shutil.move(cohort / "primary_data", folder)
    for number, path in enumerate(sorted(folder.rglob("*.dcm"))):
        dataset = pydicom.dcmread(path)
        dataset.update(planted())
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"{UID}.{number}"
        dataset.SeriesInstanceUID = f"{UID}.9.{int(path.parent.parent.name)}.{len(path.parent.name)}"
        dataset.preamble = TOKEN.encode().ljust(128)
        dataset.file_meta.SourceApplicationEntityTitle = TOKEN
        dataset.file_meta.PrivateInformationCreatorUID = f"{UID}.5"
        dataset.file_meta.PrivateInformation = TOKEN.encode()
        dataset.save_as(path)
        path.rename(path.with_name(f"{TOKEN}^JANE 18760521 {number:05d}.dcm"))
    for path in folder.rglob("*.nii"):
        image = nib.load(path, mmap=False)  # the file is written again below
        image = nib.Nifti1Image(np.asarray(image.dataobj), image.affine, image.header)
        for field in ("descrip", "aux_file", "intent_name", "db_name"):
            image.header[field] = TOKEN.encode()
        image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", TOKEN.encode()))
        nib.save(image, path)
    series = {(p.parent.name, p.name): p for p in folder.rglob("*WI") if p.is_dir()}
    for key, (spoil, _) in SCANS.items():
        spoil(series[key])
    spoil_masks(series["005", "T1WI"].parent)
    (series["005", "T1WI"].parent / f"{TOKEN} letter.doc").write_text(TOKEN)
    (folder / f"{TOKEN}.json").write_text(TOKEN)
    return root


def hits(text: bytes) -> list[bytes]:
    return [token for token in BYTES if token in text]


def leaks(texts: dict[str, bytes]) -> dict[str, list[bytes]]:
    return {name: found for name, text in texts.items() if (found := hits(name.encode() + b"\0" + text))}


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder as it is, and every array of every store as it is read."""
    texts = {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    for store in folder.rglob("*.zarr"):
        for name, array in zarr.open_group(store, mode="r").arrays():
            values = np.asarray(array[...])
            numbers = values.dtype.kind in "iufb"
            texts[f"{store.name} {name}"] = values.tobytes() if numbers else repr(values.tolist()).encode()
    return texts


#: Commands as a user would give them, each with its exit code.
COMMANDS = {
    "convert": ("convert {source} a.zarr --workers 2", 1),
    "again": ("convert {source} a.zarr --workers 0 --rewrite 002", 1),
    "info": ("info a.zarr", 0),
    "validate": ("validate a.zarr --workers 0", 0),
    "against": ("validate a.zarr --against {source} --workers 0", 0),
    "morphology": ("morphology a.zarr --csv values.csv", 0),
    "resample": ("resample a.zarr b.zarr --spacing 3,2,2 --workers 2", 1),
    "export": ("export a.zarr nifti --format nifti --workers 0", 0),
    "report": ("report a.zarr --tables tables --figures figures --workers 0", 0),
}
#: One process runs them all: to start one for each takes longer than most of them. Prints how each ended.
PROGRAM = """
import json, sys
from npczarr.cli import main

for name, arguments in json.loads(sys.argv.pop()).items():
    sys.argv[1:] = arguments
    code = 0
    try:
        main()
    except SystemExit as ended:
        code = ended.code or 0
    print(f"\\n{name} ended with {code}", flush=True)
"""


@pytest.fixture(scope="module")
def used(source, tmp_path_factory):
    """What a user would do with the command line, and what it printed."""
    out = tmp_path_factory.mktemp("used")
    lines = {name: [word.format(source=source) for word in line.split()] for name, (line, _) in COMMANDS.items()}
    command = [sys.executable, "-c", PROGRAM, json.dumps(lines)]
    done = subprocess.run(command, cwd=out, capture_output=True, text=True, check=False)
    printed = done.stdout + done.stderr
    ends = re.findall(r"^(\w+) ended with (\w+)$", done.stdout, re.MULTILINE)
    assert ends == [(name, str(code)) for name, (_, code) in COMMANDS.items()], printed
    return out, printed.encode()


def test_every_kind_of_fault_was_provoked(used):
    ds = npc.open(used[0] / "a.zarr")
    for (patient, sequence), (_, said) in SCANS.items():
        assert said in str(ds.message.sel(patient=patient, sequence=sequence).values)
    assert ds.mask_status.sel(patient="005").values.tolist() == ["refused"] * 3
    assert {"ok", "warning", "refused"} <= set(ds.status.values.ravel())


def test_no_file_that_comes_out_holds_anything_planted(used):
    texts = contents(used[0])
    assert {"report.html", "values.csv", "a.zarr message", "b.zarr image"} <= texts.keys()
    assert any(name.endswith(".png") for name in texts)
    assert not leaks(texts)


def test_nothing_printed_or_logged_holds_anything_planted(used, source, tmp_path, caplog):
    assert not leaks({"printed": used[1].replace(str(source).encode(), b"")})
    caplog.set_level(logging.DEBUG)
    result = npc.convert(source, tmp_path / "a.zarr", workers=0)
    assert not leaks({"log": caplog.text.encode()})
    assert not leaks({name: repr(result[name].values.tolist()).encode() for name in result.variables})


def test_no_graph_holds_anything_planted(used):
    ds = npc.open(used[0] / "a.zarr")
    measured = npc.morphology(ds)
    graphs = {"dataset": ds, "morphology": measured, "resampled": npc.resample(ds, spacing=(3, 2, 2))}
    assert all(len(one.__dask_graph__()) for one in graphs.values() if one.__dask_graph__() is not None)
    assert not leaks({name: pickle.dumps(dict(one.__dask_graph__() or {})) for name, one in graphs.items()})


@pytest.mark.slow
def test_a_cleaned_copy_holds_nothing_planted(source, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    result = deidentify(source, tmp_path / "out")
    assert result.failed
    assert not audit(source).clean
    assert not leaks({"log": caplog.text.encode()})
    texts = contents(tmp_path)
    assert sum(name.endswith(".dcm") for name in texts) > 100
    assert any(name.endswith(".nii") for name in texts)
    assert not leaks(texts)
    assert audit(tmp_path / "out").clean
