"""Tables of what was measured, as a person sees them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.table import Table

from npczarr.cli.show import out

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
            f"{r['median'] / factor:.2f} ({r['min'] / factor:.2f}-{r['max'] / factor:.2f})" if r["n"] else "none"
            for r in (mine[sequence] for sequence in sequences)
        ]
        table.add_row(f"{metric.replace('_', ' ')} {unit}".strip(), *cells)
    table.add_row("tumors", *(str(next(r["n"] for r in rows if r["sequence"] == s)) for s in sequences))
    out.print(table)


def intervals(rows: list[dict[str, Any]]) -> None:
    """Print n, empty pairs, mean and median with their 95 % intervals for each metric and sequence."""
    table = Table(box=None, pad_edge=False)
    for heading in ("metric", "sequence", "n", "empty", "missing", "mean [95 %]", "median [95 %]"):
        table.add_column(heading, justify="left" if heading in ("metric", "sequence") else "right")
    for r in rows:
        unit = "" if r["units"] == "1" else f" {r['units']}"
        mean, median = (
            f"{r[k]:.3f} [{r[k + '_low']:.3f}, {r[k + '_high']:.3f}]" if r["n"] else "none" for k in ("mean", "median")
        )
        where = r["sequence"] + (f" {r['pair']}" if "pair" in r else "")
        table.add_row(
            r["metric"].replace("_", " ") + unit,
            where,
            *(str(r[k]) for k in ("n", "n_empty", "n_missing")),
            mean,
            median,
        )
    out.print(table)


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
