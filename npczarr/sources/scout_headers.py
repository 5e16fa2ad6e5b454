"""The configuration that scout writes for DICOM series that their headers tell apart."""

from __future__ import annotations

import re
from collections.abc import Sequence

from npczarr.model.alike import told_as_one
from npczarr.sources.config import SourceConfig
from npczarr.sources.file_kinds import group_strays
from npczarr.sources.group_series import FoundSeries
from npczarr.sources.meant_series import Series
from npczarr.sources.other_formats import remarks_on_formats
from npczarr.sources.scout_masks import ScoutedMasks
from npczarr.sources.toml_text import quoted

_MOST_LINES = 40
_LONGEST = 60


def header_toml(
    found: FoundSeries, taken: Sequence[Series], not_taken: Sequence[str], patient: str, masks: ScoutedMasks
) -> str:
    """Write the configuration, with what each series was taken for in comments.

    Parameters
    ----------
    found, taken, not_taken
        Every series, those of them that are taken, and why others are not.
    patient
        Header field that names the patient; "" where folders do.
    masks
        How the files of masks are named.
    """
    people = {one.patient for one in found.series} - {""}
    lines = [
        "# Written by `npczarr scout`: correct it, then npczarr convert SOURCE STORE --config THIS_FILE",
        f"# {len(found.series)} series of {len(people)} patients; {len(taken)} would be taken.",
        "# Descriptions are from the headers of the images: read them before you give this file away.",
        *(f"# NOT SURE: {doubt}" for doubt in masks.doubts),
        "",
        "[layout]",
    ]
    lines += _owner_lines(found, patient)
    lines += [
        *masks.lines,
        "",
        "# Conditions on header fields say which series is which, such as",
        '#   T1WI = { where = { SeriesDescription = "*t1*", EchoTime = "<30", ImageType = "!DERIVED" } }',
        "# T1WI, T2WI and CE-T1WI without conditions are found by built-in rules.",
        "[sequences]",
    ]
    for rule in SourceConfig().sequences:
        count = sum(one.sequence == rule.name for one in taken)
        line = f"{rule.name} = {{ mask = {quoted(rule.mask)} }}"
        lines.append(f"{line}  # {count} scans" if count else f"# {line}  # none was found")
    if not taken:
        lines.append('# SEQUENCE = { where = { SeriesDescription = "*…*" } }')
    lines += ["", "# Taken, by kind:", *_kinds([one for one in found.series if one in taken])]
    reasons = [f"#   {_one_line(line, 1000)}" for line in not_taken[:_MOST_LINES]]
    lines += ["", "# Not taken:", *(reasons or ["#   none"])]
    lines += ["", "# Not taken, by kind:", *_kinds([one for one in found.series if one not in taken])]
    lines += ["", "# Other files:", *(f"#   {line}" for line in group_strays([file.path for file in found.others]))]
    lines += [f"# NOTE: {line}" for line in remarks_on_formats(found.others)]
    return "\n".join(lines) + "\n"


def _owner_lines(found: FoundSeries, patient: str) -> list[str]:
    """Say how patients are told apart."""
    if not patient:
        return [f"images = {quoted(_pattern(found))}"]
    return [
        "# Folders do not tell patients apart. This header field names them, and its values become the labels of",
        "# the store: they must not identify a person.",
        f'patient = "{patient}"',
    ]


def _pattern(found: FoundSeries) -> str:
    """Write the pattern of the patients' folders: those above them are spelled out."""
    path = found.series[0].group.files[0].path.split("/")
    above = [re.sub(r"[{}*]", "*", folder) for folder in path[: found.owner.depth]]
    return "/".join([*above, "{patient}/**"])


def _kinds(series: Sequence[Series]) -> list[str]:
    """List series that look alike on one line: what they are taken for, why, and how they describe themselves."""
    kinds: dict[tuple[str, str], list[str]] = {}
    for one in series:
        described = re.sub(r"^\d+ slices of \d+ x \d+(, )?", "", one.described)
        why = (f", {described}" if described else "") + f" ({_one_line(one.reason, 200)})"
        kinds.setdefault((one.sequence or "-", one.description), []).append(why)
    every = ((n, *kind, why) for kind, whys in kinds.items() for n, why in told_as_one(whys))
    counted = sorted(every, key=lambda line: -line[0])
    lines = [
        f"#   {n} x {sequence}: {quoted(_one_line(description, _LONGEST))}{why}"
        for n, sequence, description, why in counted[:_MOST_LINES]
    ]
    more = len(counted) - _MOST_LINES
    return [*lines, *([f"#   and {more} more kinds"] if more > 0 else [])] or ["#   none"]


def _one_line(text: str, longest: int) -> str:
    shown = re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+", " ", text)
    return shown if len(shown) <= longest else f"{shown[: longest - 1]}…"
