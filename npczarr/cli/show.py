"""What a person sees: progress, what became of scans, and the words at the end."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from npczarr.model.options import redacted
from npczarr.outputs import printable

if TYPE_CHECKING:
    import xarray as xr

    from npczarr.graphs.validate_store import Findings
    from npczarr.model.progress import OnProgress, Progress


class _Harmless(Console):
    """A console that shows what a label or a message would do to the terminal, and does not do it."""

    def render_str(self, text: str, **options: Any) -> Text:  # noqa: ANN401 - those of the base class
        return super().render_str(printable(text), **options)


# tables in a file or a pipe are as wide as they need to be
out = _Harmless(highlight=False, soft_wrap=True, width=None if sys.stdout and sys.stdout.isatty() else 160)
err = _Harmless(stderr=True, highlight=False, soft_wrap=True)
_STYLES = {"ok": "green", "warning": "yellow", "refused": "red", "missing": "dim", "pending": "magenta"}
_EXPECTED = ("ok", "sound", "measured", "seen", "written")  # what is well needs no word beside the bar
_LISTED = 20
_GO_ON = ("convert", "download", "export", "resample")


@contextmanager
def progress() -> Iterator[OnProgress]:
    """Give what a verb takes as ``on_progress``: it draws a bar, or nothing where there is no terminal."""
    from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    if not err.is_terminal:
        yield lambda state: None
        return
    columns = (
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[words]}"), TimeElapsedColumn(),
        TextColumn("left"), TimeRemainingColumn(),
    )  # fmt: skip
    with Bars(*columns, console=err) as bars:
        drawn: dict[str, tuple[TaskID, float]] = {}  # a bar for each part of the work, and when it began

        def draw(state: Progress) -> None:
            if state.note not in drawn:
                task = bars.add_task(escape(state.note or state.unit), total=None, words="")
                drawn[state.note] = task, time.perf_counter()
            task, began = drawn[state.note]
            words = escape(in_words(state, time.perf_counter() - began))
            bars.update(task, completed=state.done, total=state.total, words=words)

        yield draw


def in_words(state: Progress, seconds: float) -> str:
    """Say how much is done, how fast, and what is not as it should be."""
    seconds = max(seconds, 1e-3)
    if state.unit == "bytes":
        total = "?" if state.total is None else f"{state.total / 1e6:,.1f}"
        parts = [f"{state.done / 1e6:,.1f}/{total} MB"]
    else:
        total = "?" if state.total is None else str(state.total)
        parts = [f"{state.done}/{total}"]
    rate = f"{state.bytes / 1e6 / seconds:.0f} MB/s" if state.bytes else f"{state.done / seconds:.1f} {state.unit}/s"
    parts += [rate] if state.done else []
    counts = ", ".join(f"{count} {name}" for name, count in state.counts.items() if name not in _EXPECTED)
    return "  ".join([*parts, counts] if counts else parts)


def warned(message: Warning | str, *_: object, **__: object) -> None:
    """Print a warning in the place of :func:`warnings.showwarning`, without the line of code that gave it."""
    err.print("[yellow]warning[/]", end=" ")
    err.print(str(message), markup=False)


def stopped(command: str) -> None:
    """Print that Ctrl-C ended a command, and whether the same command goes on from there."""
    goes_on = f"; what was complete is kept, run {command} again to go on from there"
    err.print("stopped" + (goes_on if command in _GO_ON else ""))


def conversion(result: xr.Dataset, store: str, seconds: float) -> None:
    """Print what a conversion did: counts by sequence, then every scan that is not ok."""
    table = Table(title=None, box=None, pad_edge=False)
    statuses = [s for s in _STYLES if (result["status"] == s).any()]
    actions = [a for a in ("written", "replaced", "kept") if (result["action"] == a).any()]
    for heading in ("sequence", *statuses, *actions):
        table.add_column(heading, justify="left" if heading == "sequence" else "right", style=_STYLES.get(heading))
    for sequence in result["sequence"].values:
        one = result.sel(sequence=sequence)
        counts = [int((one["status"] == s).sum()) for s in statuses]
        counts += [int((one["action"] == a).sum()) for a in actions]
        table.add_row(str(sequence), *map(str, counts))
    out.print(table)
    problems = [
        {
            "patient": str(p),
            "sequence": str(s),
            "status": str(one["status"].values),
            "message": str(one["message"].values),
        }
        for p in result["patient"].values
        for s in result["sequence"].values
        for one in (result.sel(patient=p, sequence=s),)
        if str(one["status"].values) != "ok"
    ]
    problem_list(problems)
    for warning in result.attrs.get("table_warnings", ()):
        out.print(f"[yellow]table[/] {escape(warning)}")
    for line in result.attrs.get("guesses", ()):
        out.print(f"[dim]guessed[/] {escape(line)}")
    for line in result.attrs.get("not_taken", ()):
        out.print(f"[yellow]not taken[/] {escape(line)}")
    for line in result.attrs.get("remarks", ()):
        out.print(f"[yellow]note[/] {escape(line)}")
    if gone := result.attrs.get("masks_gone"):
        out.print(
            f"[yellow]masks[/] of {len(gone)} scans are no longer in the store, for this source, as it was read, has "
            f"none that can be used: {_first(gone)}; if a --config says "
            "where masks lie, give it every time"
        )
    strays(result.attrs.get("strays", ()))
    if result.attrs.get("padding"):
        out.print(f"[yellow]padding[/] {escape(result.attrs['padding'])}")
    read = float(result["source_bytes"].sum()) / 1e6
    store = escape(redacted(store))
    out.print(f"{read:,.0f} MB read in {seconds:.1f} s ({read / max(seconds, 1e-3):,.0f} MB/s)  →  [bold]{store}[/]")


def _first(names: Sequence[str]) -> str:
    return escape(", ".join(names[:6])) + (" …" if len(names) > 6 else "")


def strays(paths: Sequence[str]) -> None:
    """Print files that belong to no scan by place and kind; not by name, which can tell who it is."""
    from npczarr.sources.file_kinds import group_strays

    if not paths:
        return
    out.print(f"[dim]{len(paths)} files that belong to no scan; --json names them[/]")
    for line in group_strays(paths):
        out.print(f"[dim]  {escape(line)}[/]")


def problem_list(problems: list[dict[str, str]]) -> None:
    """Print scans that are not ok; the missing ones as a count, when they are many."""
    missing = [p for p in problems if p["status"] == "missing" and p["message"] == "no files"]
    if len(missing) > _LISTED:
        problems = [p for p in problems if p not in missing]
        out.print(f"[dim]missing  {len(missing)} scans have no files in the source[/]")
    for p in problems:
        out.print(
            f"[{_STYLES.get(p['status'], 'red')}]{escape(p['status']):8}[/] "
            + escape(f"{p['patient']}/{p['sequence']}  {p['message']}")
        )


def description(about: Mapping[str, Any]) -> None:
    """Print what :func:`npczarr.info` tells."""
    z, y, x = about["array"]["shape"][-3:]
    total = sum(n for counts in about["scans"].values() for s, n in counts.items() if s in ("ok", "warning"))
    out.print(f"[bold]{escape(about['store'])}[/]")
    patients, subjects = about["patients"], about["subjects"]
    people = f"{patients} patients" if subjects == patients else f"{subjects} patients, {patients} visits"
    out.print(
        f"{people}, {total} scans, {about['voxel_bytes'] / 1e9:.2f} GB of voxels, "
        f"up to {z} x {y} x {x} ({about['array']['dtype']}), schema {about['schema']}"
    )
    out.print(_by_sequence(about))
    if len(about["labels"]) > 1:
        out.print("labels    " + escape(", ".join(about["labels"])))
    if about["scanners"]:
        listed = ", ".join(f"{model} {count}" for model, count in about["scanners"].items())
        out.print(f"scanners  {escape(listed)}")
    if about["clinical"]:
        out.print("clinical  " + escape(", ".join(about["clinical"])))
    if about["results"]:
        out.print("results   " + ", ".join(about["results"]))
    _changed(about.get("changed", {}))
    if "seal" in about:
        out.print(f"seal      {about['seal']}, {escape(about['sealed'])}")
    else:
        out.print(f"selected  by the {escape(about['selected_by'])}")
    if about["padding"]:
        out.print(f"[yellow]padding[/] {escape(about['padding'])}")
    problem_list(about["problems"])


def _by_sequence(about: Mapping[str, Any]) -> Table:
    """Make the table of what is told of each sequence: scans and masks by status, ranges of what was measured."""
    sequences = about["sequences"]
    table = Table(box=None, pad_edge=False, title_justify="left")
    table.add_column("median (min-max)", style="dim")
    for sequence in sequences:
        table.add_column(sequence, justify="right")
    for label in ("scans", "masks"):
        table.add_row(label, *(", ".join(f"{n} {s}" for s, n in about[label][q].items()) for q in sequences))
    for name in dict.fromkeys(name for ranges in about["ranges"].values() for name in ranges):
        table.add_row(name.replace("_", " "), *(_range(about["ranges"][q].get(name)) for q in sequences))
    return table


def _changed(counts: Mapping[str, int]) -> None:
    """Print how many scans changed since each result was measured, and the command that measures them again."""
    for path, count in counts.items():
        measure = path.partition("/")[0]
        command = f"npczarr {measure} STORE" + (" PREDICTIONS" if measure == "score" else "")
        scans = "1 scan" if count == 1 else f"{count} scans"
        line = f"{path}: {scans} changed since measured; `{command}` measures again"
        out.print(f"[yellow]changed[/]   {escape(line)}")


def _range(values: list[float] | None) -> str:
    return "" if values is None else f"{values[0]:.4g} ({values[1]:.4g}-{values[2]:.4g})"


def findings(found: Findings, store: str, against: str | None = None) -> None:
    """Print what a validation found."""
    for finding in found:
        where = f"{finding.patient}/{finding.sequence}" if finding.patient else "store"
        out.print(f"[red]damaged[/] {escape(where)}  {escape(finding.problem)}")
    store = redacted(store)
    compared = "" if against is None else f" and as {escape(redacted(against))} gives it"
    if found.imported:
        compared += f", but for masks that were imported: {_first(found.imported)}"
    good = f"[green]ok[/] every voxel of {store} is as it was written{compared}"
    out.print(f"{len(found)} problem(s) in {store}" if found else good)


def failed(failures: list[dict[str, str]]) -> None:
    """Print scans that could not be measured."""
    for failure in failures:
        where = "/".join(filter(None, (failure["patient"], failure["sequence"])))
        out.print("[red]failed[/] " + escape(f"{where}  {failure['problem']}"))
