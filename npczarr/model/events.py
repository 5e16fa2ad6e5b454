"""What a column of an endpoint says of each patient: that the event was observed, or that it was not.

Survival computed without the entries that were not understood would be wrong: whether an entry is understood depends on
what it says. So a column counts as a whole: every entry is understood for certain, or there is a reason against it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from npczarr.model import words
from npczarr.model.clinical import CLINICAL, MISSING, fold, plain
from npczarr.model.messages import first_of

#: Names of such columns in a store.
EVENTS = ("death", "progression")
_SHOWN = 5
#: Answers to what the column's name asks: not observed, observed.
_ANSWERS = (f"no n false {words.NO}", f"yes y true {words.YES}")
#: Words that say it themselves, by endpoint: not observed, observed. Any other endpoint has the first ones alone.
_ANY = ("censored noevent", "event eventobserved")
_WORDS: Mapping[str, tuple[str, str]] = {
    "death": (
        "alive living survived notdead nodeath awd ned alivewithdisease alivewithoutdisease "
        "alivewithnoevidenceofdisease alivewithoutevidenceofdisease",
        "dead died death deceased expired dod deadofdisease diedofdisease deadofcancer diedofcancer deadofothercause "
        "deadofothercauses diedofothercause diedofothercauses",
    ),
    # of progression-free survival: death is its event too, and who is alive may have progressed
    "progression": (
        "noprogression notprogressed progressionfree norelapse norecurrence",
        "progressed progression progressivedisease relapse relapsed recurrence recurred dead died death deceased",
    ),
}
#: The same of other endpoints, by a part of the column's name.
_OTHERS: Mapping[str, tuple[str, str]] = {
    "relaps": ("norelapse notrelapsed relapsefree", "relapse relapsed"),
    "recur": ("norecurrence recurrencefree", "recurrence recurred"),
    "metasta": ("nometastasis nometastases", "metastasis metastases"),
    "progress": ("noprogression notprogressed progressionfree", "progression progressed"),
}
_EVENT_NAME = re.compile("event|death|dead|died|deceased|relaps|recur|progress|metasta|failure")
#: Names of a state, or of the opposite of an event: 1 or yes may mean that the patient is alive.
_STATE_NAME = re.compile(
    "status|statut|estado|vital|alive|living|surviv|free|censor|outcome|lebend|uberleb|存活|生存|存命|转归|轉歸|転帰|未|无|無|"
    "^(?:no|not|non|without)(?:event|death|dead|died|deceased|relaps|recur|progress|metasta|failure)"
)
#: A code and its meaning in a column's name, in either order.
_CODE = re.compile(r"(\d)\s*[=:]\s*([^\W\d_][^,;/()\[\]=:\d]*)|([^\W\d_][^,;/()\[\]=:\d]*?)\s*[=:]\s*(\d)")
_HINT: Mapping[str, tuple[str, str]] = {"death": ("alive", "dead"), "progression": ("censored", "progressed")}


@dataclass(frozen=True, slots=True)
class Events:
    """A column of an endpoint, read.

    Parameters
    ----------
    observed
        Whether the event was observed, by patient; None where there is no entry. Of no meaning if there is a problem.
    problem
        Why the column cannot be used, and what to do; "" if every entry is understood.
    doubt
        Why the column may mean the opposite although every entry is understood; "" if it cannot.
    """

    observed: tuple[bool | None, ...]
    problem: str = ""
    doubt: str = ""


def event_words(endpoint: str) -> tuple[str, str, str, str]:
    """Return "no", the words that mean it, "yes", the words that mean it; no codes, and no other languages."""
    no, yes = (
        f"{answers} {anywhere} {own}"
        for answers, anywhere, own in zip(("no n false", "yes y true"), _ANY, _WORDS[endpoint], strict=True)
    )
    return "no", no, "yes", yes


def read_events(endpoint: str, entries: Sequence[str], column: str = "") -> Events:
    """Read a column of an endpoint.

    Words such as "dead of disease" or "censored" say what they mean. "yes" does not in a column "Alive", and 1 only in
    a column whose name is that of an event: in "Vital status" it may be either, and beside 2 it may be "censored".

    Parameters
    ----------
    endpoint
        Name of the variable in the store, such as "death".
    entries
        Text by patient.
    column
        Name of the column in its table; by default that of the variable.

    Examples
    --------
    >>> read_events("death", ["Dead of disease", "alive", "NA", "1"]).observed
    (True, False, None, True)
    >>> read_events("death", ["1", "0"], "Vital status").problem.partition(" (")[0]
    "column 'Vital status' does not say for certain whether death was observed: it has 0, 1"
    """
    column = column or endpoint
    known = _known(endpoint, column)
    keys = [_key(entry) for entry in entries]
    observed = tuple(known.get(key) for key in keys)
    odd = {entry.strip() for entry, key in zip(entries, keys, strict=True) if key and key not in known}
    if odd:
        if any(map(_is_number, odd)):  # beside 2, 1 is no certain event
            odd |= {key for key in keys if _is_number(key)}
        return Events(observed, _problem(endpoint, column, sorted(odd)))
    if "1" in keys and "0" not in keys:
        doubt = f"column {column!r} has 1 and no 0: beside 0, 1 is the event, but beside 2 it is none"
        return Events(observed, doubt=f"{doubt}; {_remedy(endpoint)}")
    return Events(observed)


def _key(entry: str) -> str:
    """Return an entry as words are compared, without a code before it as in "1:DECEASED"; "" if there is no entry."""
    text = fold(entry).strip()
    if MISSING & {text, entry.strip().lower()}:
        return ""
    text = re.sub(r"^\d:\s*(?=\D)", "", text)
    return re.sub(r"^([01])\.0*$", r"\1", re.sub(r"(?<=\w)[\s_-]+(?=\w)", "", text))


def _known(endpoint: str, column: str) -> dict[str, bool]:
    """Meaning of each entry that is certain in a column of this name."""
    name = plain(column)
    state = _STATE_NAME.search(name) is not None and not name.endswith("survivalevent")
    aliases = next((field.aliases for field in CLINICAL if field.name == endpoint), ())
    listed = [_ANY]
    if endpoint in _WORDS:
        listed += [_WORDS[endpoint], _of_languages(endpoint)]
    else:
        listed += [pair for part, pair in _OTHERS.items() if part in name]
    if not state:
        listed.append(_ANSWERS)
        if (name in aliases or _EVENT_NAME.search(name)) and not _gives_other_codes(endpoint, column):
            listed.append(("0", "1"))
    return {word: bool(observed) for pair in listed for observed, text in enumerate(pair) for word in text.split()}


def _gives_other_codes(endpoint: str, column: str) -> bool:
    """Whether a column's name says of a code what 0 and 1 do not mean by themselves, as "Death (0 = yes, 1 = no)"."""
    no, yes = (
        {word for of in (_ANSWERS, _ANY, _WORDS.get(endpoint, _ANY)) for word in of[observed].split()}
        for observed in (False, True)
    )
    pairs = [(a or d, plain(b or c)) for a, b, c, d in _CODE.findall(fold(column))]
    return any(word not in {"0": no, "1": yes}[code] for code, word in pairs if code in "01")


def _of_languages(endpoint: str) -> tuple[str, str]:
    """Words of other languages, without those that answer the column's name."""
    answers = {*words.NO.split(), *words.YES.split()}
    listed = words.VALUES[endpoint]
    no, yes = (" ".join(word for word in listed[label].split() if word not in answers) for label in ("no", "yes"))
    return no, yes


def _problem(endpoint: str, column: str, odd: Sequence[str]) -> str:
    """Say which entries are not certain, why, and what to do."""
    shown = first_of(odd, _SHOWN)
    if all(map(_is_number, odd)):
        why = "codes differ between tables; 0 and 1 are understood where the column's name is an event, such as Death"
    else:
        no, yes = _HINT.get(endpoint, ("censored", "event"))
        why = f"understood are {no}, {yes}, censored, event, and yes and no where the column's name is an event"
    return (
        f"column {column!r} does not say for certain whether {endpoint.replace('_', ' ')} was observed: it has {shown} "
        f"({why}); {_remedy(endpoint)}"
    )


def _is_number(entry: str) -> bool:
    return re.fullmatch(r"[-+]?\d+(\.\d*)?", entry) is not None


def _remedy(endpoint: str) -> str:
    no, yes = _HINT.get(endpoint, ("censored", "event"))
    toml = f', or say in a TOML file what every entry means, as in [values.{endpoint}] "2" = "{yes}",'
    return f"write {no} or {yes} into the table{toml if endpoint in _HINT else ''} and convert again"
