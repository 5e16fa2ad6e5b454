"""What the parts of a path stand for: names that a pattern spells out, fields of it, and what may be anything."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import takewhile

from npczarr.model.identifiers import tells_who

#: Folders between a patient and the series, or a series and its files, as XNAT and others name them; of no one.
_CONTAINERS = frozenset(("scans", "scan", "series", "dicom", "dicoms", "dcm", "images", "resources", "files", "nifti"))
FOLDERS = frozenset(("data", "MRI-Segments"))  # above the patients, as published; any other may name a person
DICOM_ENDINGS = ("dcm", "dicom", "ima")
_NIFTI = re.compile(r"\.nii(\.gz)?$", re.IGNORECASE)
_TOKEN = re.compile(r"(\{\w+\}|\*)")
_RENAMED = ("patient", "session", "rater")
_ENDINGS = ("", ".gz")  # of a packed file, for which the * of ``.nii*`` stands
_RATER = re.compile(r"(reader|rater|observer|expert|doctor|annotator)?[-_ .]?\w?\d{0,3}", re.IGNORECASE)
ANYTHING = "*"


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the name of a file or folder.

    Parameters
    ----------
    text
        What is there.
    field
        What it stands for: patient, session, rater; word, which is called alike wherever it is; ``*``, which becomes a
        number; "" where it stays.
    """

    text: str
    field: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """What a path says.

    Parameters
    ----------
    patient
        Label of the patient.
    home
        Folders in which the label is of one patient, with a slash at the end.
    session
        Label of the visit; "" where there is none.
    rater
        Label of who outlined the mask; "" where there is none.
    reading
        By which pattern it was read, and what is meant by the names of sequences in it.
    names
        Parts of the names of files and folders, by their paths; what is not in it becomes a number.
    """

    patient: str
    home: str = ""
    session: str = ""
    rater: str = ""
    reading: tuple[object, ...] = ()
    names: Mapping[str, tuple[Part, ...]] = field(default_factory=dict)

    @property
    def owner(self) -> str:
        """Key of the patient: the path of the folder, where there is one."""
        return self.home + self.patient

    @property
    def visit(self) -> str:
        """Key of the visit; "" where there is none."""
        return f"{self.owner}/{self.session}" if self.session else ""


def kind_of(path: str) -> str:
    """Return dicom or nifti, or nothing for what is not copied; what has no known ending may be DICOM."""
    name = path.rpartition("/")[2].lower()
    if _NIFTI.search(name):
        return "nifti"
    ending = name.rpartition(".")[2] if "." in name else ""
    return "dicom" if ending in ("", *DICOM_ENDINGS, "img") or ending.isdecimal() else ""


def is_plain_rater(name: str) -> bool:
    """Whether the name of who outlined a mask is a number or a letter, which tells of nobody.

    >>> [is_plain_rater(name) for name in ("Reader 1", "R2", "B", "Dr Muster")]
    [True, True, True, False]
    """
    return _RATER.fullmatch(name) is not None


def folder_of_patient(folders: list[str], *, of_series: bool) -> str:
    """Path of the folder that is taken for the patient's where no layout says it, above what names its content alone.

    Parameters
    ----------
    folders
        The folders that a file is in.
    of_series
        Whether the innermost is that of a series.

    >>> folder_of_patient(["Muster_Max", "scans", "5", "DICOM"], of_series=True)
    'Muster_Max'
    """
    folders = _without_containers(folders)
    return "/".join(_without_containers(folders[:-1]) if of_series and len(folders) > 1 else folders)


def _without_containers(folders: list[str]) -> list[str]:
    """Leave out the innermost folders that are named after what they hold; the topmost stays."""
    while len(folders) > 1 and folders[-1].lower() in _CONTAINERS:
        folders = folders[:-1]
    return folders


def part_table(name: str, words: Collection[str]) -> tuple[Part, ...]:
    """Part the name of a table, which stays unless it tells a date or one of the words by which patients are known."""
    if tells_who(name, words):
        return (Part(name, ANYTHING), Part(f".{name.rpartition('.')[2]}"))
    return (Part(name),)


def align(path: str, pattern: str, first: int) -> Iterator[tuple[str, str, str]]:
    """Pair names in a path with those of its pattern, before and behind its ``**``.

    Parameters
    ----------
    path, pattern
        Which is matched by which.
    first
        How many folders are above those of the pattern.

    Yields
    ------
    tuple
        Path of a file or folder, its name, and the pattern of the name.
    """
    parts, wanted = path.split("/"), pattern.split("/")
    ahead = zip(range(first, len(parts)), wanted, strict=False)
    behind = zip(range(len(parts) - 1, -1, -1), reversed(wanted), strict=False)
    for pairs in (ahead, behind):
        for i, name in takewhile(lambda pair: pair[1] != "**", pairs):
            yield "/".join(parts[: i + 1]), parts[i], name


def part_name(
    wanted: str, name: str, values: Mapping[str, str], glob_of: Callable[[str, str], str]
) -> tuple[Part, ...]:
    """Part a name as its pattern does; nothing where all of it may be anything.

    Parameters
    ----------
    wanted, name
        Pattern of a name, and the name.
    values
        What the fields are in the path.
    glob_of
        Returns the rule with ``*`` by which a field was read; "" where the rule spells it out.

    >>> [part.field for part in part_name("{patient}_*.nii*", "Muster_3.nii", {"patient": "Muster"}, lambda *_: "")]
    ['patient', '', '*', '', '']
    """
    tokens = [token for token in _TOKEN.split(wanted) if token]
    texts = {f"{{{field}}}": text for field, text in values.items()}
    expression = "".join(f"({_free(token) or re.escape(texts.get(token, token))})" for token in tokens)
    match = re.fullmatch(expression, name, re.IGNORECASE)
    if match is None or tokens == [ANYTHING]:
        return ()
    parts: list[Part] = []
    for token, text in zip(tokens, match.groups(), strict=True):
        if token == ANYTHING:
            is_ending = bool(parts) and parts[-1].text.lower().endswith(".nii") and text.lower() in _ENDINGS
            parts.append(Part(text, "" if is_ending or not text else ANYTHING))
        else:
            parts += _part_field(token[1:-1] if token in texts else "", text, glob_of)
    return tuple(parts)


def _part_field(field: str, text: str, glob_of: Callable[[str, str], str]) -> tuple[Part, ...]:
    """Part what a field is in a name: a sequence by its rule with ``*``, everything else as a whole."""
    if glob := glob_of(field, text) if field in ("sequence", "mask") else "":
        return part_name(glob, text, {}, glob_of) or (Part(text, ANYTHING),)
    stays = field not in _RENAMED or (field == "rater" and is_plain_rater(text))
    return (Part(text, "" if stays else field),)


def _free(token: str) -> str:
    return "[^/]*" if token == ANYTHING else ""
