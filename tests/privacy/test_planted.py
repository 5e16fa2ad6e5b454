"""Nothing that identifies a patient reaches a store: every attribute of the profile is planted, and looked for."""

import logging
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
TOKENS = (TOKEN, UID, "18760521", "187Y", "77187605")
PLANTED = {
    **dict.fromkeys(("AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UT"), TOKEN),
    **dict.fromkeys(("OB", "UN", "OW"), TOKEN.encode()),
    "AS": "187Y", "DA": "18760521", "DT": "18760521101010", "TM": "184605", "UI": UID + ".1",
    "DS": "77187605", "IS": "77187605", "UR": f"http://{TOKEN}.invalid",
}  # fmt: skip


def plant(dataset: Dataset, *, nested: bool = True) -> int:
    """Fill every attribute of table E.1-1; how many."""
    count = 0
    for tag in (t for t in table.ALL_TAGS if len(t) == 2 and 2 < t[0] < 0xFF00):
        keyword = keyword_for_tag(tag)
        if not keyword:
            continue
        vr = dictionary_VR(tag).split(" or ")[0]
        if vr == "SQ" and nested:
            item = Dataset()
            item.PatientName, item.OperatorsName, item.StudyDate = TOKEN, TOKEN, "18760521"
            dataset.add_new(tag, vr, [item])
        elif vr in PLANTED and keyword not in ("SOPInstanceUID", "SeriesInstanceUID"):
            dataset.add_new(tag, vr, PLANTED[vr])
        else:
            continue
        count += 1
    dataset.private_block(0x0029, f"{TOKEN} PRIVATE", create=True).add_new(1, "LO", TOKEN)
    return count


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    cohort = tmp_path_factory.mktemp("planted") / "cohort"
    npc.make_cohort(cohort, patients=1, size="small", workers=0)
    folder = cohort / "primary_data"
    for number, path in enumerate(sorted(folder.rglob("*.dcm"))):
        dataset = pydicom.dcmread(path)
        assert plant(dataset) > 300
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"{UID}.{number}"
        dataset.SeriesInstanceUID = f"{UID}.9.{len(path.parent.name)}"
        dataset.preamble = TOKEN.encode().ljust(128)
        dataset.file_meta.SourceApplicationEntityTitle = TOKEN
        dataset.save_as(path)
        path.rename(path.with_name(f"{TOKEN}-{number:05d}.dcm"))
    for path in folder.rglob("*.nii"):
        image = nib.load(path, mmap=False)  # the file is written again below
        image = nib.Nifti1Image(np.asarray(image.dataobj), image.affine, image.header)
        for field in ("descrip", "aux_file", "intent_name", "db_name"):
            image.header[field] = TOKEN.encode()
        image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", TOKEN.encode()))
        nib.save(image, path)
    return folder


def hits(text: bytes) -> list[str]:
    return [token for token in TOKENS if token.encode() in text or token.encode("utf-16-le") in text]


def test_a_store_holds_nothing_planted(source, tmp_path, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    result = npc.convert(source, tmp_path / "a.zarr", workers=0)
    assert (result["status"] != "missing").any()
    texts = {str(p): p.read_bytes() for p in Path(tmp_path / "a.zarr").rglob("*") if p.is_file()}
    root = zarr.open_group(tmp_path / "a.zarr", mode="r")
    for name, array in root.arrays():
        values = np.asarray(array[...])
        texts[name] = values.tobytes() if values.dtype.kind in "iufb" else repr(values.tolist()).encode()
    for name in result.variables:
        texts[f"result {name}"] = repr(result[name].values.tolist()).encode()
    captured = capfd.readouterr()
    texts |= {"log": caplog.text.encode(), "out": captured.out.encode(), "err": captured.err.encode()}
    assert not {name: hits(text) for name, text in texts.items() if hits(text)}


def test_a_cleaned_copy_holds_nothing_planted(source, tmp_path):
    result = deidentify(source, tmp_path / "out")
    assert not result.failed
    texts = {str(p.relative_to(tmp_path)): p for p in (tmp_path / "out").rglob("*") if p.is_file()}
    assert any(name.endswith(".nii") for name in texts)
    assert not {name: hits(name.encode() + path.read_bytes()) for name, path in texts.items()
                if hits(name.encode() + path.read_bytes())}  # fmt: skip
    assert audit(tmp_path / "out").clean
