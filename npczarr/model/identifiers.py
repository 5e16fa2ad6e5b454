"""Words by which a column, a folder or a text may tell who a patient is."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from npczarr.model.clinical import fold, plain
from npczarr.model.identity_words import (
    COLUMNS,
    DATE_BEGINNINGS,
    DATE_ENDINGS,
    DATES,
    INTERVALS,
    NUMBER_BEGINNINGS,
    NUMBER_ENDINGS,
    PARTS,
)

_WORDS = re.compile(r"(?<=[a-z])(?=[A-Z])|[\W\d_]+")  # "StudyDate" is two
#: Before a number of up to four digits these words tell of nobody.
_PREFIXES_TEXT = """
    p pt pat patient patients sub subject subj s case id no nr n anon anonymous volunteer phantom test folder
    npc hn hnc
    """
_PREFIXES = frozenset(_PREFIXES_TEXT.split())
#: Of these and a number of up to three digits the names of visits are made that tell no date.
_VISITS_TEXT = """
    ses session visit v scan exam study tp timepoint time point t baseline bl month months mo m week weeks wk w day days
    d year years yr y pre post preop postop followup follow up fu initial first second third fourth last mid end before
    after during treatment therapy rt chemo surgery recurrence staging restaging
    """
_VISITS = frozenset(_VISITS_TEXT.split())
_PLAIN_LABEL = re.compile(r"([A-Za-z]*)[-_ .]?\d{1,4}")
DATE = re.compile(r"(?<!\d)(19|20)\d\d([-_.]?)(0[1-9]|1[0-2])\2(0[1-9]|[12]\d|3[01])(?!\d)")
UID = re.compile(r"(?<![\d.])[0-2](\.\d+){5,}")
#: Words of makers and scanners, which stay even if a test object was registered under such a name.
_MAKERS_TEXT = """
    siemens healthineers philips healthcare medical systems general electric toshiba canon hitachi united
    imaging uih shimadzu esaote fuji fujifilm neusoft bruker hologic magnetom signa achieva ingenia discovery
    skyra prisma avanto verio aera vida sola lumina espree symphony trio intera gyroscan optima artist architect
    premier vantage titan umr scanner phantom head neck
    """
_MAKERS = frozenset(_MAKERS_TEXT.split())
_DIGIT = re.compile(r"\d")
_LETTERS = re.compile(r"[^\W\d_]+")
_LISTED = re.compile(r"[^\W\d_]{2,}(?:[ -][^\W\d_]+)*, ?[^\W\d_]+\.?(?:[ -][^\W\d_]+\.?)*")
_UMLAUTS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ø": "oe", "å": "aa"})
_SHORTEST = 3  # letters of a part of a name that is searched for
_SHORTEST_IDEOGRAPHIC = 2  # characters of a name in a script of words without spaces
_FIRST_IDEOGRAPH = 0x3040  # kana, then the ideographs, then Hangul
#: A day of a year, such as 2019-03-04 or 4.3.2019.
EXACT_DATE = re.compile(
    r"(?<!\d)\d{1,2}[./-]\d{1,2}[./-](19|20)\d\d(?!\d)|(?<!\d)(19|20)\d\d[./-]\d{1,2}[./-]\d{1,2}(?!\d)"
)
_SHORTEST_WITHIN = 5  # letters of a part of a name that is searched for within other words


def identifies_by_name(column: str) -> bool:
    """Whether the name of a column says that it tells who the patients are, or the exact day of an examination.

    >>> [identifies_by_name(n) for n in ("Patient Name", "MRN", "姓名", "phone no.", "T stage", "sequence name")]
    [True, True, True, True, False, False]
    >>> [identifies_by_name(n) for n in ("Vorname", "Straße", "StudyDate", "Datum", "Tumorname", "days to date")]
    [True, True, True, True, False, False]
    """
    called = plain(column).rstrip("0123456789")  # "phone 2"
    stems = {called, *(called.removesuffix(ending) for ending in NUMBER_ENDINGS)}
    stems |= {called.removeprefix(beginning) for beginning in NUMBER_BEGINNINGS}
    return not stems.isdisjoint(COLUMNS) or any(part in called for part in PARTS) or _is_date(column, called)


def _is_date(column: str, called: str) -> bool:
    """Whether a column holds dates by its name: "2 years" tells of nobody, "Untersuchungsdatum" does."""
    words = {fold(word) for word in _WORDS.split(column)}
    dated = bool(words & DATES) or called.startswith(DATE_BEGINNINGS) or called.endswith(DATE_ENDINGS)
    return dated and not words & INTERVALS


def is_plain_label(name: str) -> bool:
    """Whether the name of a patient's folder is a short number, which tells of nobody.

    >>> [is_plain_label(n) for n in ("001", "sub-12", "P7", "Smith 1962", "19620314", "Li_Wei")]
    [True, True, True, False, False, False]
    """
    found = _PLAIN_LABEL.fullmatch(name)
    return found is not None and (not found[1] or found[1].lower() in _PREFIXES)


def is_plain_visit(name: str) -> bool:
    """Whether the name of a visit's folder tells no date, and of nobody.

    >>> [is_plain_visit(n) for n in ("baseline", "ses-02", "month6", "post RT", "2019-03-04", "20190304", "Miller")]
    [True, True, True, True, False, False, False]
    """
    parts = re.findall(r"[^\W\d_]+|\d+", name)
    numbers = [part for part in parts if part.isdecimal()]
    words = {part.lower() for part in parts if not part.isdecimal()}
    return words <= _VISITS and len(numbers) <= 1 and all(len(number) <= 3 for number in numbers)


def is_persons_name(label: str, name: object, number: object = "") -> bool:
    """Whether a label is the name of a patient: words of it, in any order, whatever is between them.

    Parameters
    ----------
    label
        Label of the patient.
    name, number
        PatientName and PatientID of a header. A name that has digits, or is the number too, is a pseudonym.

    >>> [is_persons_name(label, "DOE^JOHN^^Dr") for label in ("Doe_John", "john doe 1962", "Doe", "001", "Jones")]
    [True, True, True, False, False]
    >>> is_persons_name("Müller, Jürgen", "Mueller^Juergen"), is_persons_name("王小明", "Wang^XiaoMing=王^小明")
    (True, True)
    >>> is_persons_name("P-001", "P-001"), is_persons_name("AMC", "AMC", "AMC")
    (False, False)
    """
    called, numbered = str(name), str(number)
    if _DIGIT.search(called) or (fold(called) == fold(numbered)):
        return False
    return any(_has_words(label_as_written, called) for label_as_written in (label, _spelled_out(label)))


def _has_words(label: str, name: str) -> bool:
    """Whether the words of a label are of a name, or are all of it in one."""
    found, there = _person_words(label), {*_person_words(name), *_person_words(_spelled_out(name))}
    together = {"".join(_person_words(group)) for group in name.split("=")}
    known = {*found} <= there or "".join(found) in together
    return known and any(len(word) > 1 for word in found)


def _person_words(text: str) -> list[str]:
    words = [word for word in _LETTERS.findall(fold(text)) if word not in _PREFIXES]
    return [word for word in words if word not in _MAKERS]


def _spelled_out(text: str) -> str:
    """Write umlauts as headers without them do."""
    return text.casefold().translate(_UMLAUTS)


def looks_like_name(label: str) -> bool:
    """Whether a label is written as names of persons are, in DICOM or in lists.

    >>> [looks_like_name(label) for label in ("Doe^John", "Doe, John", "NPC_001", "T1, 2", "Doe_John")]
    [True, True, False, False, False]
    """
    return "^" in label or _LISTED.fullmatch(label) is not None


def identity_words(values: Iterable[object]) -> frozenset[str]:
    """Return the words of names and numbers of a patient that may be searched for in other texts, in lower case."""
    words = (word.lower() for value in values for word in re.split(r"[\W_]+", str(value)))
    return frozenset(
        word for word in words if len(word) >= _shortest(word) and word not in _MAKERS and word not in _PREFIXES
    )


def _shortest(word: str) -> int:
    """Return the least length of a word that is searched for; a name of two ideographs is a whole one."""
    return _SHORTEST_IDEOGRAPHIC if _is_ideographic(word) else _SHORTEST + word.isdigit()


def _is_ideographic(word: str) -> bool:
    return any(ord(letter) >= _FIRST_IDEOGRAPH for letter in word)


def tells_who(text: str, words: Collection[str]) -> bool:
    """Whether a text holds a word that identifies the patient, a date, a UID or a name as DICOM writes them."""
    parts = {part.lower() for part in re.split(r"[\W_]+", text)}
    within = [word for word in words if len(word) >= _SHORTEST_WITHIN or _is_ideographic(word)]
    lower = text.lower()
    return bool(
        not parts.isdisjoint(words)
        or any(word in lower for word in within)
        or DATE.search(text)
        or UID.search(text)
        or "^" in text
    )
