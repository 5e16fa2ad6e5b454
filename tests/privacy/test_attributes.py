"""What the table of the profile does not list and somebody filled in; and bytes that are no pixel."""

import nibabel as nib
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from npczarr.model.limits import Limits
from npczarr.privacy.audit import audit
from npczarr.privacy.clean import clean_dicom
from npczarr.privacy.nifti import clean_nifti
from npczarr.privacy.profile import METHOD
from tests.builders import noise, oblique_grid, slice_dataset
from tests.hostile.corpus import as_bytes

KEY = b"a secret of many bytes"
GRID = oblique_grid((1, 7, 7), seed=1)


def cleaned(dataset: Dataset) -> bytes:
    return clean_dicom(as_bytes(dataset), KEY, "001", Limits())


def image(**values) -> Dataset:
    dataset = slice_dataset(noise(GRID)[0], GRID, 0)
    dataset.PatientName, dataset.PatientID = "ZIMMERMANN^ANNA", "734215"
    with pydicom.config.disable_value_validation():
        for keyword, value in values.items():
            setattr(dataset, keyword, value)
    return dataset


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("RetrieveURL", "https://pacs.example/wado?patientID=1&studyUID=2"),
        ("RetrieveURI", "https://pacs.example/1"),
        ("PatientBirthDateInAlternativeCalendar", "S37.3.14"),
        ("PatientDeathDateInAlternativeCalendar", "R1.5.2"),
        ("PlacerOrderNumberProcedure", "A1"),
        ("FillerOrderNumberProcedure", "A1"),
        ("ContentLabel", "SEEN"),
        ("ContentDescription", "seen"),
    ],
)
def test_attributes_that_the_table_does_not_list_are_found_and_go_at_any_level(tmp_path, keyword, value):
    nested = Dataset()
    nested.ReferencedSOPClassUID, nested.URNCodeValue = "1.2.840.10008.5.1.4.1.1.4", "urn:pacs.example"
    setattr(nested, keyword, value)
    dataset = image(ReferencedImageSequence=[nested], **{keyword: value})
    (tmp_path / "1.dcm").write_bytes(as_bytes(dataset))
    assert {("attribute", keyword), ("attribute", "URNCodeValue")} <= {
        (one.kind, one.name) for one in audit(tmp_path, workers=0).findings
    }
    content = cleaned(dataset)
    assert value.encode() not in content
    assert b"urn:" not in content
    (tmp_path / "001").mkdir()
    (tmp_path / "1.dcm").unlink()
    (tmp_path / "001/1.dcm").write_bytes(content)
    assert audit(tmp_path, workers=0).clean


@pytest.mark.parametrize("keyword", ["Laterality", "PresentationIntentType", "TherapyDescription", "ScanOptions"])
def test_every_code_is_searched_for_the_words_of_the_header_and_plain_ones_stay(tmp_path, keyword):
    dataset = image(**{keyword: "ZIMMERMANN"})
    (tmp_path / "1.dcm").write_bytes(as_bytes(dataset))
    found = audit(tmp_path, workers=0)
    assert ("kept text", keyword) in {(one.kind, one.name) for one in found.findings}
    assert not {"Modality", "PatientPosition"} & {one.name for one in (*found.findings, *found.notes)}
    content = cleaned(dataset)
    assert b"ZIMMERMANN" not in content
    (tmp_path / "1.dcm").write_bytes(content)
    assert pydicom.dcmread(tmp_path / "1.dcm").Modality == "MR"


def test_a_copy_in_which_an_archive_filled_in_the_name_is_cleaned_again(tmp_path):
    dataset = image(SequenceName="ZIMMERMANN 734215", Manufacturer="ZIMMERMANN")
    dataset.PatientIdentityRemoved, dataset.DeidentificationMethod = "YES", METHOD
    (tmp_path / "1.dcm").write_bytes(as_bytes(dataset))
    assert {"SequenceName", "Manufacturer"} <= {
        one.name for one in audit(tmp_path, workers=0).findings if one.kind == "kept text"
    }
    content = cleaned(dataset)
    assert b"ZIMMERMANN" not in content
    assert b"734215" not in content


@pytest.mark.parametrize("dtype", ["uint8", "int16"])
def test_bytes_behind_the_last_pixel_are_cut_off_and_pixels_stay(tmp_path, dtype):
    pixels = noise(GRID, dtype, high=200)[0]  # 49 pixels: of one byte, a byte makes them even
    dataset = slice_dataset(pixels, GRID, 0)
    kept = dataset.PixelData[: pixels.nbytes] + bytes(pixels.nbytes % 2)
    dataset.PixelData = dataset.PixelData[: pixels.nbytes] + b"ZIMMERMANN, ANNA" * 1000
    content = cleaned(dataset)
    assert b"ZIMMERMANN" not in content
    (tmp_path / "1.dcm").write_bytes(content)
    found = pydicom.dcmread(tmp_path / "1.dcm")
    assert found.PixelData == kept
    np.testing.assert_array_equal(found.pixel_array, pixels)


def test_the_unused_text_of_nifti_2_is_cleared():
    content = bytearray(nib.Nifti2Image(np.ones((4, 4, 4), np.int16), np.eye(4)).to_bytes())
    content[525:540] = b"ZIMMERMANN Anna"
    assert b"ZIMMERMANN" not in clean_nifti(bytes(content), Limits(), packed=False)
