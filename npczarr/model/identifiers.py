"""Words by which a column, a folder or a text may tell who a patient is."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import pairwise

from npczarr.model.clinical import PATIENT_ALIASES, SEQUENCE_ALIASES, SESSION_ALIASES, fold, known_field, plain
from npczarr.model.identity_words import (
    BORN,
    COLUMNS,
    DATE_BEGINNINGS,
    DATE_ENDINGS,
    DATES,
    GERMAN_EVENTS,
    INTERVAL_SIGNS,
    INTERVALS,
    MAKERS,
    NAMES,
    NUMBER_BEGINNINGS,
    NUMBER_ENDINGS,
    NUMBER_WORDS,
    NUMBERED,
    PARTS,
    PERSONS,
    PREFIXES,
    SHORT,
    VISITS,
    WORDS,
)

_WORDS = re.compile(r"(?<=[a-z])(?=[A-Z])|[\W\d_]+")  # "StudyDate" is two
#: Columns that may say whose row it is, or of which visit or sequence.
_KEYS = frozenset((*PATIENT_ALIASES, *SEQUENCE_ALIASES, *SESSION_ALIASES))
_PLAIN_LABEL = re.compile(r"([A-Za-z]*)[-_ .]?\d{1,4}")
DATE = re.compile(r"(?<!\d)(19|20)\d\d([-_.]?)(0[1-9]|1[0-2])\2(0[1-9]|[12]\d|3[01])(?!\d)")
UID = re.compile(r"(?<![\d.])[0-2](\.\d+){5,}")
_DIGIT = re.compile(r"\d")
_LETTERS = re.compile(r"[^\W\d_]+")
_LISTED = re.compile(r"[^\W\d_]{2,}(?:[ -][^\W\d_]+)*, ?[^\W\d_]+\.?(?:[ -][^\W\d_]+\.?)*")
_STROKES = {"ł": "l", "đ": "d", "ð": "d", "ı": "i", "ø": "o", "æ": "ae", "œ": "oe", "þ": "th"}
_WITHOUT_STROKES = str.maketrans(_STROKES)
_UMLAUTS = str.maketrans({**_STROKES, "ä": "ae", "ö": "oe", "ü": "ue", "ø": "oe", "å": "aa"})
_PARTS_OF_TEXT = re.compile(r"[\W_]+")
_SHORTEST = 3  # letters of a word that is searched for
_SHORTEST_OF_NAME = 2  # letters of a word of a name, such as Li, and characters of one in a script without spaces
_FIRST_IDEOGRAPH = 0x3040  # kana, then the ideographs, then Hangul
_YEAR, _MONTH, _DAY = r"(?:19|20)\d\d", r"(?:0?[1-9]|1[0-2])", r"(?:0?[1-9]|[12]\d|3[01])"
_MONTH_NAME = (
    "(?:jan(?:uary|uar)?|feb(?:ruary|ruar)?|mar(?:ch|s)?|m(?:ä|ae|a)?rz|apr(?:il)?|may|mai|jun[ei]?|jul[iy]?"
    "|aug(?:ust)?|sept?(?:ember)?|o[ck]t(?:ober)?|nov(?:ember)?|de[cz](?:ember)?)"
)
_DATE_FORMS = (
    DATE.pattern,  # first, for it refers to its own groups by their numbers
    rf"(?<!\d){_YEAR}[./-]{_MONTH}[./-]{_DAY}(?!\d)",
    rf"(?<!\d)(?:{_DAY}[./-]{_MONTH}|{_MONTH}[./-]{_DAY})[./-]{_YEAR}(?!\d)",
    # a year of two digits: beside months of two, or versions would be dates
    r"(?<![^\W_])(?<![.-])(?:0[1-9]|[12]\d|3[01])[.-](?:0[1-9]|1[0-2])[.-]\d\d(?![^\W_]|[.-]\d)",
    r"(?<![^\W_])(?<!/)(?:(?:0[1-9]|[12]\d|3[01])/(?:0[1-9]|1[0-2])|(?:0[1-9]|1[0-2])/(?:[12]\d|3[01]))/\d\d(?![^\W_]|/)",
    rf"(?<![^\W_]){_DAY}(?:st|nd|rd|th)?[ ./_-]{{0,2}}{_MONTH_NAME}[ .,/_-]{{0,2}}(?:{_YEAR}|\d\d)(?![^\W_])",
    rf"(?<![^\W_]){_MONTH_NAME}[ ._-]{{1,2}}{_DAY}(?:st|nd|rd|th)?(?:, ?|[ ._-]){_YEAR}(?!\d)",
    rf"(?<!\d){_YEAR}[ ./_-]?{_MONTH_NAME}[ ./_-]?{_DAY}(?!\d)",
    r"\d\d ?[年년] ?\d{1,2} ?[月월] ?\d",
)
#: A day of a year in any of the usual forms: 2019-03-04, 4.3.2019, 04/03/19, 4 Mar 2019, 2019年3月4日.
_EXACT_DATE = re.compile("|".join(_DATE_FORMS), re.IGNORECASE)
_SHORT_DATE = re.compile(rf"(?<![^\W_])(?<![./-]){_DAY}[./-]{_MONTH}[./-]\d\d(?![^\W_]|[./-]\d)")  # or a version
_DAY_OF_HEADER = re.compile(r"((?:19|20)\d\d)-?(0[1-9]|1[0-2])-?(0[1-9]|[12]\d|3[01])")
_SHORTEST_WITHIN = 5  # letters of a part of a name that is searched for within other words


def identifies_by_name(column: str) -> bool:
    """Whether the name of a column says that it tells who the patients are, or the exact day of an examination.

    Columns of clinical fields do not, nor do those that may hold the labels of the patients.

    >>> [identifies_by_name(n) for n in ("Patient Name", "MRN", "姓名", "phone no.", "T stage", "sequence name")]
    [True, True, True, True, False, False]
    >>> [identifies_by_name(n) for n in ("Vorname", "Straße", "StudyDate", "Datum", "Tumorname", "days to date")]
    [True, True, True, True, False, False]
    >>> [identifies_by_name(n) for n in ("Phone (home)", "SeriesInstanceUID", "Patient ID 2", "PatientID", "EBV DNA")]
    [True, True, True, False, False]
    """
    if known_field(column) is not None:
        return False
    whole = plain(column)
    called = whole.rstrip("0123456789")  # "phone 2"
    words = [fold(word) for word in _WORDS.split(unicodedata.normalize("NFC", column)) if word]
    stems = {called, *(called.removesuffix(ending) for ending in NUMBER_ENDINGS)}
    stems |= {called.removeprefix(beginning) for beginning in NUMBER_BEGINNINGS}
    return (
        not stems.isdisjoint(COLUMNS)
        or any(part in called for part in PARTS)
        or _is_of_person({*words})
        or (whole not in _KEYS and _is_number(called, {*words}))
        or _is_date(words, called)
    )


def identifies_beside_labels(column: str) -> bool:
    """Whether a column tells who the patients are by its name, where another one holds their labels.

    >>> [identifies_beside_labels(name) for name in ("PatientID", "Pat-ID", "病人ID", "MRN", "Age")]
    [True, True, True, True, False]
    """
    return plain(column) in PATIENT_ALIASES or identifies_by_name(column)


def _is_of_person(words: set[str]) -> bool:
    """Whether words are of a contact, of a person's name, or of when or where somebody was born."""
    born = bool(words & {"birth", "born"}) and words <= BORN
    return not words.isdisjoint(WORDS) or bool(words & PERSONS and words & NAMES) or born


def _is_number(called: str, words: set[str]) -> bool:
    """Whether a column holds numbers of patients, or of what hospitals and offices keep of them."""
    parts = {called, *words}
    stems = {part.removesuffix(ending) for part in parts for ending in NUMBER_ENDINGS if part.endswith(ending)}
    beside = {*NUMBER_WORDS} & words
    return not stems.isdisjoint(NUMBERED) or any(NUMBERED & (words - {word}) for word in beside)


def _is_date(words: Sequence[str], called: str) -> bool:
    """Whether a column holds dates by its name: "2 years" tells of nobody, "Untersuchungsdatum" does."""
    dated = not DATES.isdisjoint(words) or called.startswith(DATE_BEGINNINGS) or called.endswith(DATE_ENDINGS)
    on = words[-1:] == ["vom"] or (words[-1:] == ["am"] and not GERMAN_EVENTS.isdisjoint(words))
    return (dated or on) and INTERVALS.isdisjoint(words) and INTERVAL_SIGNS.isdisjoint(called)


def is_plain_label(name: str) -> bool:
    """Whether the name of a patient's folder is a short number, which tells of nobody.

    >>> [is_plain_label(n) for n in ("001", "sub-12", "P7", "Smith 1962", "19620314", "Li_Wei")]
    [True, True, True, False, False, False]
    """
    found = _PLAIN_LABEL.fullmatch(name)
    return found is not None and (not found[1] or found[1].lower() in PREFIXES)


def is_plain_visit(name: str) -> bool:
    """Whether the name of a visit's folder tells no date, and of nobody.

    >>> [is_plain_visit(n) for n in ("baseline", "ses-02", "month6", "post RT", "2019-03-04", "20190304", "Miller")]
    [True, True, True, True, False, False, False]
    """
    parts = re.findall(r"[^\W\d_]+|\d+", name)
    numbers = [part for part in parts if part.isdecimal()]
    words = {part.lower() for part in parts if not part.isdecimal()}
    return words <= VISITS and len(numbers) <= 1 and all(len(number) <= 3 for number in numbers)


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
    words = [word for word in _LETTERS.findall(fold(text)) if word not in PREFIXES]
    return [word for word in words if word not in MAKERS]


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
    """Return what of names and numbers of a patient may be searched for in other texts, as :func:`tells_who` does.

    These are words in each spelling, short ones of a name also with their neighbor, and spellings of a birth date.

    >>> sorted(identity_words(["Müller^J"])), sorted(identity_words(["LI^WU"]))
    (['mueller', 'muller'], ['li', 'li wu', 'liwu', 'wu', 'wu li', 'wuli'])
    """
    texts = [str(value) for value in values]
    found = {word for text in texts for word in _searched_words(text)}
    found.update(date for text in texts for date in _spelled_dates(text))
    return frozenset(found)


def _searched_words(text: str) -> Iterator[str]:
    for group in text.split("="):  # a name in letters, in ideographs, as it sounds
        for spelling in _spellings(group):
            words = [word for word in _PARTS_OF_TEXT.split(spelling) if word]
            named = all(word.isalpha() for word in words)
            yield from (word for word in words if _is_searched(word, named=named))
            for one, other in pairwise(words) if named else ():
                if _is_searched_together(one, other):
                    yield from (one + other, other + one, f"{one} {other}", f"{other} {one}")


def _is_searched(word: str, *, named: bool) -> bool:
    """Whether a word is long enough to be searched for; a name of two ideographs is a whole one."""
    if word in MAKERS or word in PREFIXES:
        return False
    if _is_ideographic(word) or (named and word not in SHORT):
        return len(word) >= _SHORTEST_OF_NAME
    return len(word) >= _SHORTEST + word.isdigit()


def _is_searched_together(one: str, other: str) -> bool:
    """Whether neighbors in a name are searched for beside each other: where neither is found within other words."""
    if {one, other} & (MAKERS | PREFIXES):
        return False
    if _is_ideographic(one + other):
        return max(len(one), len(other)) < _SHORTEST_OF_NAME
    return max(len(one), len(other)) < _SHORTEST_WITHIN <= len(f"{one} {other}")


def _is_ideographic(word: str) -> bool:
    return any(ord(letter) >= _FIRST_IDEOGRAPH for letter in word)


def _spellings(text: str) -> set[str]:
    """Return a text in lower case without accents, and with umlauts as they are written out."""
    if text.isascii():
        return {text.lower()}
    composed = unicodedata.normalize("NFC", text.casefold())
    return {fold(composed.translate(_WITHOUT_STROKES)), fold(composed.translate(_UMLAUTS))}


def _spelled_dates(text: str) -> Iterator[str]:
    """Return other spellings of a date of a header, of those that are no date by themselves."""
    if found := _DAY_OF_HEADER.fullmatch(text):
        year, month, day = found.groups()
        yield from (day + month + year, month + day + year, day + month + year[2:], year[2:] + month + day)
        for one, other in ((day, month), (month, day)):
            yield from (f"{int(one)}{mark}{int(other)}{mark}{year[2:]}" for mark in "./-")


def tells_who(text: str, words: Collection[str]) -> bool:
    """Whether a text holds a word that identifies the patient, a date, a UID or a name as DICOM writes them.

    Parameters
    ----------
    text
        Any text.
    words
        As :func:`identity_words` gives them.

    >>> words = identity_words(["Müller^Jürgen", "19620314"])
    >>> [tells_who(text, words) for text in ("coil of Mueller", "MULLER_J", "born 14.3.62", "4 Mar 2019", "R5.4.1.0")]
    [True, True, True, True, False]
    """
    if "^" in text or UID.search(text) or (_DIGIT.search(text) and _EXACT_DATE.search(text)):
        return True
    within = [word for word in words if len(word) >= _SHORTEST_WITHIN or _is_ideographic(word)]
    for spelling in _spellings(text):
        parts = [part for part in _PARTS_OF_TEXT.split(spelling) if part]
        spaced = " ".join(parts)
        if not {*parts}.isdisjoint(words) or any(word in spelling or word in spaced for word in within):
            return True
    return False


def is_date(entry: str) -> bool:
    """Whether an entry of a table holds the day of a year; 4.3.19 is one there, where versions are rare.

    >>> [is_date(entry) for entry in ("seen 4-MAR-2019", "20190304", "geb. 4.3.19", "2019年3月4日", "2019", "T2 N1")]
    [True, True, True, True, False, False]
    """
    return _EXACT_DATE.search(entry) is not None or _SHORT_DATE.search(entry) is not None
