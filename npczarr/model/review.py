"""What a reviewer decides on a scan."""

from __future__ import annotations

from dataclasses import dataclass, fields

from npczarr.errors import ParameterError

DECISIONS = ("accept", "exclude")
#: The published exclusion criteria that can be seen in a scan.
REASONS = ("coverage", "resolution", "artifact", "other")
_LONGEST = 2000  # characters of a note
Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Mark:
    """One decision on one scan.

    Parameters
    ----------
    patient, sequence
        Labels of the scan.
    decision
        ``"accept"`` or ``"exclude"``, or "" to take an earlier mark back.
    reason
        For ``"exclude"``: ``"coverage"``, ``"resolution"``, ``"artifact"`` or ``"other"``.
    note, reviewer
        Free text; whatever is written here is stored.
    time
        Filled in when the mark is kept.
    input_digest
        Digest of the scan that was seen; "" for the scan as it is when the mark is kept.

    Raises
    ------
    ParameterError
        If decision and reason are not as described, the note is too long, or a text cannot be written as UTF-8.
    """

    patient: str
    sequence: str
    decision: str
    reason: str = ""
    note: str = ""
    reviewer: str = ""
    time: str = ""
    input_digest: str = ""

    def __post_init__(self) -> None:
        for field in fields(self):
            _check_text(field.name, getattr(self, field.name))
        if self.decision not in ("", *DECISIONS):
            raise ParameterError(f"decision must be one of {', '.join(DECISIONS)}, got {self.decision!r}")
        if self.decision == "exclude" and self.reason not in REASONS:
            raise ParameterError(f"to exclude a scan, name a reason: {', '.join(REASONS)}; got {self.reason!r}")
        if self.decision != "exclude" and self.reason:
            raise ParameterError(f"a reason belongs to exclude, got {self.reason!r} with {self.decision!r}")
        if len(self.note) > _LONGEST or len(self.reviewer) > _LONGEST:
            raise ParameterError(f"a note is at most {_LONGEST} characters long")

    @property
    def key(self) -> Key:
        """Patient and sequence."""
        return self.patient, self.sequence


def _check_text(name: str, text: str) -> None:
    try:
        str.encode(text)  # a TypeError for what is no text
    except UnicodeEncodeError as error:
        raise ParameterError(
            f"{name}: character {error.start + 1} is half of a surrogate pair, {text[error.start]!r}, which cannot be "
            "written as UTF-8; leave it out"
        ) from error
