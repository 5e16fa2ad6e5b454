"""The clinical variables that npczarr knows, with their column names in tables and their units.

Aliases are compared in lower case, without accents, and with everything but letters and digits left out, so "EBV-DNA"
is "ebvdna"; units and editions at the end of a name are no part of it. Those of other languages are in `words.py`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from npczarr.model import words


@dataclass(frozen=True, slots=True)
class ClinicalField:
    """A clinical variable: its name in the store, dtype ("float64" or "string"), meaning, units, and aliases.

    highest is the largest number that makes sense, from 0 on: a missing code such as 999 is larger.
    """

    name: str
    dtype: str
    description: str
    units: str | None
    aliases: tuple[str, ...]
    highest: float | None = None


def _field(
    name: str, dtype: str, description: str, aliases: str, units: str | None = None, highest: float | None = None
) -> ClinicalField:
    every = dict.fromkeys([*aliases.split(), *words.COLUMNS.get(name, "").split()])
    return ClinicalField(name, dtype, description, units, tuple(every), highest)


CLINICAL: tuple[ClinicalField, ...] = (
    _field(
        "age",
        "float64",
        "age at diagnosis",
        "age patientage ageyears ageatdiagnosis agediagnosis ageatdx ageattreatment",
        "year",
        120,
    ),
    _field("sex", "string", "sex", "sex gender patientsex"),
    _field("t_stage", "string", "tumor stage (TNM)", "tstage t tcategory clinicalt ct tclassification clinicaltstage"),
    _field("n_stage", "string", "node stage (TNM)", "nstage n ncategory clinicaln cn nclassification clinicalnstage"),
    _field(
        "m_stage", "string", "metastasis stage (TNM)", "mstage m mcategory clinicalm cm mclassification clinicalmstage"
    ),
    _field(
        "clinical_stage",
        "string",
        "clinical stage",
        "clinicalstage stage overallstage ajccstage uiccstage tnmstage tnm stagegroup tumorstage tumourstage",
    ),
    _field(
        "pathology",
        "string",
        "histological type",
        "pathology histology pathologicaltype pathologictype whotype histologicaltype histologictype pathologytype "
        "whoclassification whohistology",
    ),
    _field(
        "ebv",
        "string",
        "Epstein-Barr virus DNA",
        "ebv ebvdna epsteinbarrvirus epsteinbarrvirusdna ebvstatus ebvdnastatus plasmaebvdna pretreatmentebvdna",
    ),
    _field("vca", "string", "viral capsid antigen IgA", "vca vcaiga ebvvcaiga vcaantibody vcaigaantibody ebvvca"),
    _field(
        "overall_survival",
        "float64",
        "time to death or last follow-up",
        "overallsurvival os osmonths overallsurvivalmonths survivaltime survivalmonths followup followupmonths ostime "
        "overallsurvivaltime survival followuptime survivalperiod",
        "month",
        720,
    ),
    _field(
        "death",
        "string",
        "whether death was observed",
        "death deathevent osevent event survivalstatus dead died osstatus vitalstatus deceased overallsurvivalstatus "
        "overallsurvivalevent",
    ),
    _field(
        "progression_free_survival",
        "float64",
        "time to progression, death or last follow-up",
        "progressionfreesurvival pfs pfsmonths pfstime progressionfreesurvivaltime",
        "month",
        720,
    ),
    _field(
        "progression",
        "string",
        "whether progression was observed",
        "progression progressionevent pfsevent pfsstatus progressed progressionfreesurvivalstatus "
        "progressionfreesurvivalevent",
    ),
)

#: Names of columns that number patients, cases or anything else; and those that number the rows of a table as a rule.
ID_NAMES = frozenset({"id", "case", "fall", "identifiant", "pseudonym", "编号", "編號", "番号", "症例"})
ROW_NUMBER_NAMES = frozenset({"no", "number", "index", "序号", "nummer", "numero"})
#: Columns that say whose row it is, the more specific names first; and of which sequence and visit.
PATIENT_ALIASES = (
    *("patientid", "patient", "patientno", "patientnumber", "subject", "subjectid", "pid", "participantid"),
    *("participant", "caseid", "id", "case", "no", "number", "index"),
    *words.PATIENT_COLUMNS.split(),
)
SEQUENCE_ALIASES = ("sequence", "series", "modality", "mrsequence", "scan", *words.SEQUENCE_COLUMNS.split())
SESSION_ALIASES = (
    *("session", "sessionid", "ses", "visit", "visitid", "visitno", "visitnumber", "timepoint"),
    *words.SESSION_COLUMNS.split(),
)

#: Entries, in lower case, that say there is no value.
MISSING = (
    words.MISSING
    | frozenset({"", ".", "-", "--", "?", "na", "n/a", "n.a.", "#n/a", "nan", "none", "null"})
    | {
        *("unknown", "unk", "missing", "not available", "not known", "not recorded", "not reported"),
    }
)

_MONTHS_PER: Mapping[str, float] = {"day": 12 / 365.25, "week": 7 * 12 / 365.25, "month": 1.0, "year": 12.0}
_UNIT_WORDS = {
    word: unit
    for unit, listed in {
        "day": "day days d",
        "week": "week weeks wk wks w",
        "month": "month months mo mos mon mth mths m",
        "year": "year years yr yrs y",
    }.items()
    for word in f"{listed} {words.UNITS[unit]}".split()
}
_CJK_UNIT = re.compile(r"(.+?)(个月|個月|ヶ月|か月|カ月|月数|日数|年数|月|天|日|周|週|年)")
_EDITION = re.compile(r"((ajcc|uicc)[6-9]?|[6-9]th|ed(ition)?)+$")


def plain(name: str) -> str:
    """Column name as aliases are compared.

    >>> plain("EBV-DNA"), plain(" Overall survival (months)"), plain("Überleben")
    ('ebvdna', 'overallsurvivalmonths', 'uberleben')
    """
    return re.sub(r"[\W_]", "", fold(name))


def fold(text: str) -> str:
    """Text in lower case, without accents; full-width letters and roman numerals become plain ones.

    >>> fold("Décédé"), fold("Ⅳａ期"), fold("がん")
    ('decede', 'iva期', 'がん')
    """
    apart = unicodedata.normalize("NFKD", text.casefold())
    return unicodedata.normalize("NFC", re.sub("[\u0300-\u036f]", "", apart)).casefold()


def is_known_column(name: str) -> bool:
    """Whether a column's name is known: a clinical field, or whose row it is.

    >>> is_known_column("年龄"), is_known_column("participant_id"), is_known_column("ward")
    (True, True, False)
    """
    keys = {*PATIENT_ALIASES, *SEQUENCE_ALIASES, *SESSION_ALIASES}
    return plain(name) in keys or known_field(name) is not None


def known_field(name: str) -> ClinicalField | None:
    """Find what a column means by its name; None if nobody knows.

    >>> [known_field(name).name for name in ("T-stage (AJCC 8th)", "OS_days", "Gender", "总生存期（月）")]
    ['t_stage', 'overall_survival', 'sex', 'overall_survival']
    """
    called = plain(name)
    stem, unit = _split_unit(name)
    for field in CLINICAL:
        # units are cut off names of numbers only: "T (d)" is no stage
        if {called, _EDITION.sub("", called)} & {*field.aliases} or (unit and field.units and stem in field.aliases):
            return field
    return None


def unit_of(name: str) -> str | None:
    """Read the unit of time off a column's name: day, week, month, year, or None.

    >>> unit_of("Overall survival (days)"), unit_of("OS_mo"), unit_of("OS")
    ('day', 'month', None)
    """
    return _split_unit(name)[1]


def _split_unit(name: str) -> tuple[str, str | None]:
    """Return a name without its unit, as aliases are compared, and the unit."""
    found = re.fullmatch(r"(.+?)[\s_(\[,./-]+([^\W\d_]+)[)\].\s]*", fold(name).strip())
    if found and found[2] in _UNIT_WORDS:
        return plain(found[1]), _UNIT_WORDS[found[2]]
    found = re.fullmatch(r"(.+?)(days?|weeks?|months?|years?)", plain(name)) or _CJK_UNIT.fullmatch(plain(name))
    return (found[1], _UNIT_WORDS[found[2]]) if found else (plain(name), None)


def time_in(text: str, *, given: str, wanted: str) -> float | None:
    """Read a time as tables and DICOM write it; None if the text is no time.

    Parameters
    ----------
    text
        A number, with or without a unit of its own.
    given
        Unit where the text names none.
    wanted
        Unit of the result; a year is twelve months or 365.25 days.

    Examples
    --------
    >>> time_in("045Y", given="year", wanted="year"), time_in("18 months", given="year", wanted="year")
    (45.0, 1.5)
    >>> time_in("730.5", given="day", wanted="month"), time_in(">80", given="year", wanted="year")
    (24.0, None)
    >>> time_in("12,5 Monate", given="year", wanted="month"), time_in("45岁", given="year", wanted="year")
    (12.5, 45.0)
    """
    # a comma before one or two digits is a decimal one; "1,234" may be either, and is no number
    plain_text = re.sub(r"^(\d+),(\d{1,2})(?!\d)", r"\1.\2", fold(text).strip())
    found = re.fullmatch(r"([-+]?\d*\.?\d+(?:e[-+]?\d+)?|[-+]?\d+\.)\s*([^\W\d_]*)\.?", plain_text)
    if found is None or (found[2] and found[2] not in _UNIT_WORDS):
        return None
    unit = _UNIT_WORDS.get(found[2], given)
    value = float(found[1])
    return value if unit == wanted else value * _MONTHS_PER[unit] / _MONTHS_PER[wanted]


@dataclass(frozen=True, slots=True)
class Times:
    """A column of ages or times, read: entries that stand for "not known", such as 999, and those that are no number.

    `values` are in the units of the field, by place in the column; NaN where there is none.
    """

    values: tuple[float, ...]
    codes: tuple[str, ...]
    odd: tuple[str, ...]


def read_times(entries: Sequence[str], known: ClinicalField, given: str | None) -> Times:
    """Read a column of ages or times entry by entry: one that is no number changes nothing about the others.

    Parameters
    ----------
    entries
        Text by place.
    known
        The field that the column holds.
    given
        Unit that the name of the column says; None for that of the field.

    Examples
    --------
    >>> read_times(["50 y.o.", "999", "60", "NA"], known_field("Age"), None)
    Times(values=(nan, nan, 60.0, nan), codes=('999',), odd=('50 y.o.',))
    """
    wanted = str(known.units)
    there = {*entries} - {text for text in entries if text.strip().lower() in MISSING}
    read = {text: time_in(text, given=given or wanted, wanted=wanted) for text in there}
    numbers = {text: value for text, value in read.items() if value is not None}
    senseless = [text for text, value in numbers.items() if not 0 <= value <= (known.highest or float("inf"))]
    codes = sorted(text for text in senseless if (raw := plain_number(text)) is not None and is_missing_code(raw))
    kept = {text: value for text, value in numbers.items() if text not in codes}
    values = tuple(kept.get(text, float("nan")) for text in entries)
    return Times(values, tuple(codes), tuple(sorted(there - numbers.keys())))


def plain_number(text: str) -> float | None:
    """Read a number without a unit; None if the text is none."""
    try:
        return None if "_" in text else float(text)  # to Python 1_2 is twelve, in a table it is a code
    except ValueError:
        return None


#: 30 years in months: times that reach beyond it without a unit are more likely days.
LONG_MONTHS = 360


def is_missing_code(number: float) -> bool:
    """Return whether a number is a code for a missing value: -1, or only nines.

    Ask only for numbers that make no sense as values: 9 may be a valid age.

    >>> [is_missing_code(number) for number in (-1, 999, -9, 150, float("inf"))]
    [True, True, True, False, False]
    """
    return number == -1 or (float(number).is_integer() and set(str(abs(int(number)))) == {"9"})
