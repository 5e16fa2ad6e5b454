"""Tables of what was measured, as a person sees them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.table import Table

from npczarr.cli.show import out
from npczarr.report.digits import fixed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from npczarr.model.results import Numbers

_CENTIMETRES = {"mm3": ("cm3", 1000.0), "mm2": ("cm2", 100.0), "mm": ("cm", 10.0), "1": ("", 1.0)}


def ranges(rows: list[dict[str, Any]]) -> None:
    """Print median (min-max) for each metric and sequence, in the units of the paper's Table 2."""
    sequences = list(dict.fromkeys(row["sequence"] for row in rows))
    table = Table(box=None, pad_edge=False)
    table.add_column("median (min-max)", style="dim")
    for sequence in sequences:
        table.add_column(sequence, justify="right")
    for metric in dict.fromkeys(row["metric"] for row in rows):
        mine = {row["sequence"]: row for row in rows if row["metric"] == metric}
        unit, factor = _CENTIMETRES[next(iter(mine.values()))["units"]]
        cells = [
            "{} ({}-{})".format(*(fixed(r[k] / factor, 2) for k in ("median", "min", "max"))) if r["n"] else "none"
            for r in (mine[sequence] for sequence in sequences)
        ]
        table.add_row(f"{metric.replace('_', ' ')} {unit}".strip(), *cells)
    table.add_row("tumors", *(str(next(r["n"] for r in rows if r["sequence"] == s)) for s in sequences))
    out.print(table)


def intervals(rows: list[dict[str, Any]]) -> None:
    """Print n, empty pairs, mean and median with their 95 % intervals for each metric and sequence.

    Rows are :func:`npczarr.graphs.summarize.summary`'s; of fewer than five patients there is no interval.
    """
    from npczarr.kernels.bootstrap import LEAST_SUBJECTS

    table = Table(box=None, pad_edge=False)
    for heading in ("metric", "sequence", "n", "empty", "missing", "mean [95 %]", "median [95 %]"):
        table.add_column(heading, justify="left" if heading in ("metric", "sequence") else "right")
    for r in rows:
        unit = "" if r["units"] == "1" else f" {r['units']}"
        tolerance = f" at {r['tolerance_mm']:g} mm" if "tolerance_mm" in r else ""
        where = r["sequence"] + (f" {r['pair']}" if "pair" in r else "")
        table.add_row(
            r["metric"].replace("_", " ") + tolerance + unit,
            where,
            *(str(r[k]) for k in ("n", "n_empty", "n_missing")),
            *(_interval(r, k) for k in ("mean", "median")),
        )
    out.print(table)
    if any(r["n"] and math.isnan(r["mean_low"]) for r in rows):
        out.print(f"[dim]no interval below {LEAST_SUBJECTS} patients[/]")


def _interval(row: dict[str, Any], name: str) -> str:
    """Write a mean or median with its interval, or alone where there is none."""
    if not row["n"]:
        return "none"
    middle, low, high = (row[name + end] for end in ("", "_low", "_high"))
    written = fixed(middle, 3)
    return written if math.isnan(low) else f"{written} [{fixed(low, 3)}, {fixed(high, 3)}]"


def as_json(answer: Any) -> str:  # noqa: ANN401 - whatever is printed
    """Write an answer as JSON, which has no word for numbers that are none: null for NaN, "inf" and "-inf".

    >>> as_json({"n": 1, "hd": [float("inf"), float("nan"), 0.5]}).split()
    ['{', '"n":', '1,', '"hd":', '[', '"inf",', 'null,', '0.5', ']', '}']
    """
    return json.dumps(_valid(answer), indent=1, allow_nan=False)


def _valid(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, dict):
        return {key: _valid(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_valid(one) for one in value]
    if not isinstance(value, float) or math.isfinite(value):
        return value
    return None if math.isnan(value) else str(value)


def flagged(result: Numbers, flags: Mapping[str, tuple[tuple[str, ...], NDArray[Any]]]) -> list[dict[str, str]]:
    """List scans and patients of a result to look at again, with the reason; flags as ``flags_of`` gives them."""
    words = {
        "empty": "empty mask",
        "several_pieces": "in several pieces",
        "touches_end_slice": "at the first or last slice",
    }
    patients, sequences = ([str(label) for label in result[dim].values] for dim in ("patient", "sequence"))
    lines = []
    for name, text in words.items():
        dims, values = flags[name]
        for p, s in zip(*values.transpose([dims.index(dim) for dim in ("patient", "sequence")]).nonzero(), strict=True):
            lines.append({"scan": f"{patients[p]}/{sequences[s]}", "problem": text})
    for patient, disagree, ratio in zip(patients, flags["volumes_disagree"][1], flags["volume_ratio"][1], strict=True):
        if disagree:
            lines.append({"scan": patient, "problem": f"sequences disagree: volumes differ {ratio:.1f} times"})
    return sorted(lines, key=lambda line: line["scan"])
