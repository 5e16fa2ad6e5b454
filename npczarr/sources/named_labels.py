"""Labels that are names of persons or hold dates: labels are the one text of folders that enters a store."""

from __future__ import annotations

from collections.abc import Collection

from pydicom.dataset import Dataset

from npczarr.model.cohort import subject_of
from npczarr.model.identifiers import is_date, is_persons_name, looks_like_name
from npczarr.sources.fields import raw_text


def is_named(patient: str, header: Dataset) -> bool:
    """Whether a subject is called by the PatientName of a header."""
    try:
        return is_persons_name(patient, header.get("PatientName", ""), header.get("PatientID", ""))
    except Exception:  # damaged: pydicom names it in a dozen ways
        return False


def number_of_person(header: Dataset) -> str:
    """PatientID of a header; "" where it has no digit but 0, as what is written in the place of all alike."""
    number = raw_text(header, "PatientID")
    return number if any(char.isdigit() and char != "0" for char in number) else ""


def remarks_on_labels(patients: Collection[str], named: Collection[str] = ()) -> list[str]:
    """Say that labels are names of persons or hold dates, and what to do; the labels themselves are not said again.

    Parameters
    ----------
    patients
        Labels of all patients.
    named
        Labels that are the PatientName of their headers.

    Returns
    -------
    list of str
        One remark on names, one on dates, or none.

    Examples
    --------
    >>> remarks_on_labels(["001_ses-2021-03-04", "002_ses-02"])[0].partition(",")[0]
    '1 of 2 labels of patients and visits hold exact dates'
    """
    return [*_on_names(patients, named), *_on_dates(patients)]


def _on_names(patients: Collection[str], named: Collection[str]) -> list[str]:
    subjects, of_headers = {subject_of(label) for label in patients}, {subject_of(label) for label in named}
    written = {subject for subject in subjects if looks_like_name(subject)} - of_headers
    if not (of_headers or written):
        return []
    found = [f"{len(of_headers)} the PatientName of their headers"] if of_headers else []
    found += [f"{len(written)} written as names are"] if written else []
    return [
        f"the labels of {len(of_headers) + len(written)} of {len(subjects)} patients are names of persons "
        f"({' and '.join(found)}), and a store holds labels as they are. Take the PatientID of the headers in place of "
        'folders, if that tells of nobody ([layout] patient = "PatientID" in a TOML file, --config), or convert a copy '
        "that npczarr deidentify has made; in both cases into a new store"
    ]


def _on_dates(patients: Collection[str]) -> list[str]:
    dated = sum(is_date(label) for label in patients)
    if not dated:
        return []
    return [
        f"{dated} of {len(patients)} labels of patients and visits hold exact dates, and a store holds labels as they "
        "are. Call the folders of visits otherwise, such as ses-1 and ses-2, or convert a copy that npczarr deidentify "
        "has made, which numbers them; in both cases into a new store"
    ]
