"""What the entries of clinical columns mean, and the order of categories.

A store keeps text as its table has it: :func:`canonical` returns its meaning, :func:`ranked` sorts it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from npczarr.model import words
from npczarr.model.clinical import MISSING, fold, plain
from npczarr.model.events import event_words

_ROMAN = {"i": "1", "ii": "2", "iii": "3", "iv": "4"}
#: Two numbers with something between them, such as "i-ii" or "1 (2)": a range, and no stage.
_RANGE = re.compile(r"(?<![a-z])(?:i{1,3}|iv|[0-4])(?:[\s_(),/-]|to)+(?:i{1,3}|iv|[0-4])(?![a-z])")
_STAGE_LETTER = {"t_stage": "t", "n_stage": "n", "m_stage": "m"}
_SIGN = (
    "negative", "0 negative neg (-) no false undetectable notdetected",
    "positive", "1 positive pos + (+) yes true detectable detected",
)  # fmt: skip
_PATHOLOGY = (
    "Basaloid squamous", "Keratinized squamous", "Non-keratinized squamous",
)  # fmt: skip
#: By field: labels in their order, each with the words that mean it.
_WORDS: dict[str, tuple[str, ...]] = {
    "sex": ("female", "f female woman w", "male", "m male man"),
    "ebv": _SIGN,
    "vca": _SIGN,
    "death": event_words("death"),
    "progression": event_words("progression"),
}


def canonical(name: str, values: Sequence[str]) -> list[str]:
    """Return the meaning of the entries of a clinical column; "" for a missing entry.

    Stages become T0-T4, N0-N3, M0, M1 and 1-4c, whether written "T3", "cT3", "3", "3.0", "III" or "Stage IVa"; sex
    female and male; EBV and VCA negative and positive; histology as the dataset's paper writes it; words of events no
    and yes, but not their codes, for 1 is what :func:`npczarr.model.events.read_events` finds the column's name to say.
    Anything else stays as it is. A lone "-" is a missing entry, unless "+" is in the column as well.

    Parameters
    ----------
    name
        Name of the field in the store; values of other fields are only freed of missing codes.

    Examples
    --------
    >>> canonical("t_stage", ["T3", "3", "cT3", "III", "TX", "NA", "T2a"])
    ['T3', 'T3', 'T3', 'T3', 'TX', '', 'T2a']
    >>> canonical("clinical_stage", ["IVa", "Stage 4B", "2", "iii"]), canonical("ebv", ["+", "-", "1"])
    (['4a', '4b', '2', '3'], ['positive', 'negative', 'positive'])
    >>> canonical("sex", ["男", "女"]), canonical("sex", ["H", "M"]), canonical("clinical_stage", ["Ⅳa期", "III期"])
    (['male', 'female'], ['male', 'female'], ['4a', '3'])
    >>> canonical("sex", ["V", "M"])
    ['male', 'female']
    """
    known = _words(name) | _letters_of_sex(name, values)
    signs = name in ("ebv", "vca") and any(value.strip() == "+" for value in values)
    labels = []
    for value in values:
        text = value.strip()
        lower = fold(text)
        word = known.get(re.sub(r"\s|\.0+$", "", lower))
        if lower in ("-", "－", "−"):
            labels.append("negative" if signs else "")
        elif word or not MISSING & {lower, text.lower()}:
            labels.append(word or _stage(name, lower) or _histology(name, lower) or text)
        else:
            labels.append("")
    return labels


def _words(name: str) -> dict[str, str]:
    pairs = _WORDS.get(name, ())
    own = dict(zip(pairs[::2], pairs[1::2], strict=True))
    listed = [*own.items(), *words.VALUES.get(name, {}).items()]
    return {word: label for label, text in listed for word in text.split()}


def _letters_of_sex(name: str, values: Sequence[str]) -> dict[str, str]:
    """Read single letters where a column has no others: of h and m, m is a woman (mujer)."""
    if name != "sex":
        return {}
    letters = frozenset(letter for value in values if len(letter := fold(value.strip())) == 1 and letter.isalpha())
    return words.SEX_LETTERS.get(letters, {})


def _stage(name: str, text: str) -> str | None:
    for word in words.STAGE:
        text = text.replace(word, "")
    if _RANGE.search(text):
        return None
    compact = re.sub(r"[\s_()-]", "", text)
    if letter := _STAGE_LETTER.get(name):
        found = re.fullmatch(rf"(?:{letter}?stage)?(?:[ry]?[acp]?{letter})?(is|x|[0-4]|iv|i{{1,3}})([a-d]?)", compact)
        number = re.fullmatch(r"([0-4])\.0+()", compact)
        prefix = letter.upper()
    elif name == "clinical_stage":
        found = re.fullmatch(r"(?:ajcc|uicc|clinical|overall|stage)*([0-4]|iv|i{1,3})([a-c]?)", compact)
        number, prefix = re.fullmatch(r"([0-4])\.0+()", compact), ""
    else:
        return None
    if (found := found or number) is None:
        return None
    return prefix + {"x": "X", **_ROMAN}.get(found[1], found[1]) + found[2]


def _histology(name: str, text: str) -> str | None:
    if name != "pathology":
        return None
    found = re.fullmatch(
        r"(basaloid|(?:non)?keratini[sz](?:ed|ing))(?:squamous)?(?:cell)?(?:carcinoma)?(?:scc)?", plain(text)
    )
    if found is None:
        plain_text = plain(text)
        return next((label for label, parts in words.PATHOLOGY if any(p in plain_text for p in parts.split())), None)
    return _PATHOLOGY[0 if found[1] == "basaloid" else 1 + found[1].startswith("non")]


def ranked(name: str, labels: Iterable[str]) -> list[str]:
    """Put the distinct labels of a field in their order, unknown ones last by name, without "".

    >>> ranked("clinical_stage", ["4b", "3", "1", "4a", "benign", "3", ""])
    ['1', '3', '4a', '4b', 'benign']
    """
    known = [*_WORDS.get(name, ())[::2], *(_PATHOLOGY if name == "pathology" else ())]

    def rank(label: str) -> tuple[int, str]:
        if label in known:
            return known.index(label), ""
        if name in (*_STAGE_LETTER, "clinical_stage") and (found := re.fullmatch(r"[TNM]?([0-4])([a-d]?)", label)):
            return int(found[1]), found[2]
        return len(known) + 5, label

    return sorted({label for label in labels if label}, key=rank)
