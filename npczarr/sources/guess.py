"""Built-in rules: whether a series is T1WI, T2WI or CE-T1WI by its header, and why; where headers leave doubt, neither.

Weighting is what the description says, or what echo and repetition time of a spin echo say; where both do they must
agree. Contrast is what ContrastBolusAgent or the description says. Whatever may be something else (diffusion, FLAIR,
STIR, maps, projections, reformatted images, localizers) is left out.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

from pydicom.dataset import Dataset

from npczarr.sources.fields import field_values

GUESSED = ("T1WI", "T2WI", "CE-T1WI")
#: Fields that the rules look at.
KEYWORDS = (
    "Modality", "SeriesDescription", "ProtocolName", "SequenceName", "PulseSequenceName", "ImageType", "EchoTime",
    "RepetitionTime", "InversionTime", "ScanningSequence", "ContrastBolusAgent", "DiffusionBValue",
    "EchoPulseSequence", "InversionRecovery",
)  # fmt: skip
#: Words of a description that name another kind of series.
_OTHERS = (
    (r"loc(ali[sz]er)?|scout|survey|3 ?plane", "a localizer"),
    (r"flair|dark ?fluid", "FLAIR"),
    (r"stir|tirm|spair ir", "STIR"),
    (r"dwi?|dti|diff(usion)?|adc|trace\w*|b ?\d{3,4}|epi", "diffusion"),
    (r"swi|swan|t2 ?(\*|star)|gre t2|hemo|suscept\w*", "susceptibility-weighted"),
    (r"tof|mra|angio\w*|mrv|pc ?\d*d", "angiography"),
    (r"perf(usion)?|dce|dyn(amic)?|asl|dsc|twist|disco", "a dynamic series"),
    (r"mip|mpr|reformat\w*|sub(traction|tracted)?|reg(istered)?", "computed from other images"),
    (r"map(s|ping)?|qsm|relax\w*|t[12] ?map", "a map"),
    (r"pd|proton ?density|mt|magnetization ?transfer|spectro\w*|mrs|cest", "of another weighting"),
    (r"phase|b0 ?map|field ?map|calibration|asset|shim|test", "for calibration"),
)
_OTHER_TYPES = {
    word: kind
    for kind, words in {
        "a localizer": ("LOCALIZER",),
        "a mosaic": ("MOSAIC",),
        "diffusion": ("ADC", "TRACEW", "FA", "DIFFUSION"),
        "computed from other images": ("MPR", "SUB", "SUBTRACTION", "REFORMATTED"),
        "a projection": ("PROJECTION IMAGE", "MIP"),
        "phase images": ("P", "PHASE", "PHASE MAP"),
        "a map": ("T1_MAP", "T2_MAP", "T1 MAP", "T2 MAP"),
        "susceptibility-weighted": ("SWI",),
        "made after the examination": ("SECONDARY",),
    }.items()
    for word in words
}
_NO_AGENT = {"", "no", "none", "n", "0", "na", "n/a", "without", "nativ", "native", "nein", "false"}
_T1 = r"t1|t1w\w*|mprage|bravo|vibe|lava|thrive|spgr"
_T2 = r"t2|t2w\w*"
_BEFORE = r"pre|non ?(contrast|enhanced)|w/?o|without|unenhanced|plain|nativ\w*|ohne|sans|sin|平扫"
_AFTER = r"ce|\+ ?c|c ?\+|gd|gado?\w*|km|post|contrast|enh(anced)?|增强|造影"


@dataclass(frozen=True, slots=True)
class Guess:
    """What a series was taken for; it holds no text of its header.

    Parameters
    ----------
    sequence
        One of `GUESSED`; "" where it was taken for none of them.
    reason
        Why.
    doubt
        What the header leaves open, though the series was taken.
    """

    sequence: str
    reason: str
    doubt: str = ""


@dataclass(frozen=True, slots=True)
class _Facts:
    """What a header says of a series."""

    modality: str
    description: str
    types: frozenset[str]
    scanning: frozenset[str]
    echo_ms: float
    repetition_ms: float
    inversion_ms: float
    b_value: float
    agent: str | None

    def says(self, words: str) -> str:
        """Return the part of the description that is one of these words; "" if none is."""
        found = re.search(rf"(?<![a-z0-9])(?:{words})(?![a-z0-9])", self.description)
        return found[0].strip() if found else ""


def guess_sequence(header: Dataset, index: int = 0) -> Guess:
    """Say whether a series is T1WI, T2WI or CE-T1WI by the header of one frame.

    Parameters
    ----------
    header
        With the fields of `KEYWORDS`, as far as the file has them.
    index
        The frame, of an enhanced object.
    """
    facts = _facts(header, index)
    if other := _other_kind(facts):
        return Guess("", other)
    by_words, words = _by_description(facts)
    by_times, times = _by_times(facts)
    if by_words and by_times and by_words != by_times:
        return Guess("", f"the description says {by_words}, but {times} say {by_times}")
    weighting = by_words or by_times
    reasons = [reason for reason in (words, times) if reason]
    if not weighting:
        return Guess("", "; ".join(reasons) or "neither description nor echo and repetition time say its weighting")
    return _with_contrast(facts, weighting, reasons)


def _facts(header: Dataset, index: int) -> _Facts:
    def text(name: str) -> str:
        return " ".join(str(value) for value in field_values(header, index, name))

    def number(name: str) -> float:
        return next((value for value in field_values(header, index, name) if isinstance(value, float)), math.nan)

    names = ("SeriesDescription", "ProtocolName", "SequenceName", "PulseSequenceName")
    described = " ".join(text(name) for name in names).casefold()
    # letters that follow each other without a sign are one word: t1_tse_tra, T1-TSE and "T1 TSE" are the same
    described = re.sub(r"[_\-.,;:/()\[\]^=]+", " ", described.replace("w/o", "without"))
    scanning = {str(value).upper() for value in field_values(header, index, "ScanningSequence")}
    scanning |= {"SE"} if text("EchoPulseSequence").upper() == "SPIN" else set()
    scanning |= {"GR"} if text("EchoPulseSequence").upper() == "GRADIENT" else set()
    scanning |= {"IR"} if text("InversionRecovery").upper() == "YES" else set()
    return _Facts(
        text("Modality").upper(),
        described,
        frozenset(str(value).upper() for value in field_values(header, index, "ImageType")),
        frozenset(scanning),
        number("EchoTime"),
        number("RepetitionTime"),
        number("InversionTime"),
        number("DiffusionBValue"),
        text("ContrastBolusAgent").casefold() if "ContrastBolusAgent" in header else None,
    )


def _other_kind(facts: _Facts) -> str:
    """Say which other kind of series it is; "" if it may be one of those that are guessed."""
    if facts.modality and facts.modality != "MR":
        return "not MR"
    kind = next((kind for word, kind in _OTHER_TYPES.items() if word in facts.types), "")
    if kind:
        return f"ImageType says {kind}"
    kind = next((kind for words, kind in _OTHERS if facts.says(words)), "")
    if kind:
        return f"the description says {kind}"
    checks: tuple[tuple[Callable[[], bool], str], ...] = (
        (lambda: facts.b_value > 0, "it has a b-value: diffusion"),
        (lambda: "EP" in facts.scanning, "ScanningSequence says echo planar"),
        (lambda: facts.inversion_ms >= 1400 and facts.repetition_ms >= 4000, "TI and TR of FLAIR"),
        (lambda: 80 <= facts.inversion_ms <= 350 and facts.repetition_ms >= 1500, "TI and TR of STIR"),
    )
    return next((reason for holds, reason in checks if holds()), "")


def _by_description(facts: _Facts) -> tuple[str, str]:
    t1, t2 = facts.says(_T1), facts.says(_T2)
    if t1 and t2:
        return "", "the description says both T1 and T2"
    if t2 and "GR" in facts.scanning and "SE" not in facts.scanning:
        return "", "the description says T2, ScanningSequence gradient echo: it may be T2*"
    if t1 or t2:
        return ("T1", "the description says T1") if t1 else ("T2", "the description says T2")
    return "", ""


def _by_times(facts: _Facts) -> tuple[str, str]:
    """Weighting of a spin echo by TE and TR, and of a gradient echo with inversion by TI; nothing of any other."""
    said = f"TE {facts.echo_ms:g} ms and TR {facts.repetition_ms:g} ms"
    if "SE" in facts.scanning and "IR" not in facts.scanning:
        if facts.echo_ms <= 30 and facts.repetition_ms <= 1200:
            return "T1", said
        if facts.echo_ms >= 60 and facts.repetition_ms >= 1800:
            return "T2", said
    if "GR" in facts.scanning and 600 <= facts.inversion_ms <= 1300 and facts.echo_ms <= 8:
        return "T1", f"TE {facts.echo_ms:g} ms and TI {facts.inversion_ms:g} ms of a gradient echo"
    return "", ""


def _with_contrast(facts: _Facts, weighting: str, reasons: list[str]) -> Guess:
    """Tell CE-T1WI from T1WI; T2WI are taken with and without contrast agent."""
    before, after = (
        bool(facts.says(_BEFORE)),
        bool(re.search(rf"(?<![a-z0-9])(?:{_AFTER})(?![a-z])", facts.description)),
    )
    given = facts.agent is not None and facts.agent.strip() not in _NO_AGENT
    because = "; ".join(reasons)
    if weighting == "T2":
        return Guess("T2WI", because)
    if before and after:
        after = False  # "non contrast", "without contrast"
    if given and before:
        return Guess("", f"{because}; a contrast agent is named, but the description says before or without contrast")
    if given or after:
        return Guess(
            "CE-T1WI", f"{because}; {'a contrast agent is named' if given else 'the description says contrast'}"
        )
    if before:
        return Guess("T1WI", f"{because}; the description says before or without contrast")
    if facts.agent is not None:
        return Guess("T1WI", f"{because}; the header names no contrast agent")
    return Guess("T1WI", because, "no header field tells whether contrast agent was given: T1WI is a guess, look at it")
