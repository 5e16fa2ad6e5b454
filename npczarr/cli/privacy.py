"""The commands that keep patients unknown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from npczarr.cli import show
from npczarr.cli.options import Config, Json, Scheduler, Source, SourceOption, Workers, as_options

if TYPE_CHECKING:
    from npczarr.privacy.audit import Audit
    from npczarr.privacy.deidentify import Deidentified

_FACES = (
    "a face can be reconstructed from a scan of the head. npczarr removes none: pydeface, mri_deface or quickshear do "
    "it for NIfTI images of whole heads (npczarr export --format nifti); check that they leave the tumor, which in a "
    "nasopharynx lies close behind the face"
)
_NOTES = {
    "face": _FACES,
    "text": "kept by deidentify; check its values with --values",
}


def audit(
    source: Source,
    values: Annotated[bool, typer.Option("--values", help="Print examples of what was found: patients' data.")] = False,
    workers: Workers = None,
    scheduler: Scheduler = None,
    source_option: SourceOption = None,
    as_json: Json = False,
) -> None:
    """Look for what could identify someone; exit code 1 if something is found."""
    from rich.markup import escape
    from rich.table import Table

    from npczarr.privacy.audit import audit as look

    with show.progress() as draw:
        found = look(
            source,
            values=values,
            workers=workers,
            scheduler=scheduler,
            source_options=as_options(source_option),
            on_progress=draw,
        )
    if as_json:
        typer.echo(json.dumps(found.as_dict(), indent=1))
    else:
        table = Table("kind", "what", "files", *(["values"] if values else []), box=None, pad_edge=False)
        for one in found.findings:
            table.add_row(one.kind, one.name, str(one.files), *([" | ".join(one.values)] if values else []))
        if found.findings:
            show.out.print(table)
        for one in found.notes:
            shown = f" ({' | '.join(one.values)})" if values else ""
            show.out.print(f"[yellow]note[/] {one.files} files: {escape(one.name + shown)}; {_NOTES[one.kind]}")
        _failed(found.unread)
        show.out.print(_summary(found))
    raise typer.Exit(int(not found.clean))


def deidentify(
    source: Source,
    out: Annotated[Path, typer.Argument(help="Folder to write, outside the source.")],
    key_file: Annotated[
        Path | None,
        typer.Option(
            help="File with a secret: a further run with it brings the copy up to date. Default: random, forgotten."
        ),
    ] = None,
    table: Annotated[
        list[str] | None,
        typer.Option(help="Path of a CSV file in the source to copy, without what may tell who someone is."),
    ] = None,
    keep_patients: Annotated[
        bool, typer.Option("--keep-patients", help="Keep the names of patients: pseudonyms already.")
    ] = False,
    remove_gone: Annotated[
        bool, typer.Option("--remove-gone", help="Remove from the copy what the source no longer has.")
    ] = False,
    config: Config = None,
    workers: Workers = None,
    scheduler: Scheduler = None,
    source_option: SourceOption = None,
    as_json: Json = False,
) -> None:
    """Write a cleaned copy, by the Basic Profile of DICOM PS3.15."""
    from dataclasses import asdict

    from npczarr.errors import ParameterError
    from npczarr.privacy.deidentify import deidentify as clean

    try:
        key = None if key_file is None else key_file.read_bytes().strip()
    except OSError as error:
        raise ParameterError(f"{key_file}: the key cannot be read ({error.strerror}); check the path") from error
    with show.progress() as draw:
        done = clean(
            source,
            out,
            key=key,
            tables=table or (),
            keep_patients=keep_patients,
            remove_gone=remove_gone,
            config=config,
            workers=workers,
            scheduler=scheduler,
            source_options=as_options(source_option),
            on_progress=draw,
        )
    if as_json:
        typer.echo(json.dumps(asdict(done), indent=1))
    else:
        _print_copy(done)
    raise typer.Exit(int(bool(done.failed or done.gone) or done.written + done.kept == 0))


def _print_copy(done: Deidentified) -> None:
    from rich.markup import escape

    _failed(done.failed)
    for path, reason in done.not_copied.items():
        show.out.print(f"[dim]not copied[/] {escape(path)}: {escape(reason)}")
    if done.numbered:
        names = "name was" if done.numbered == 1 else "names were"
        show.out.print(
            f"{done.numbered} patient or visit {names} replaced by numbers, in folders and files, because they may "
            "identify someone or contain a date (--keep-patients keeps those of patients)"
        )
    for remark in done.remarks:
        show.out.print(f"[yellow]note[/] {escape(remark)}")
    _print_gone(done)
    show.out.print(f"{done.written} files written, {done.kept} were there, {len(done.failed)} failed")
    if done.written + done.kept:
        show.out.print(f"[yellow]note[/] the values of pixels are as they were; {_FACES}")
    else:
        show.out.print("[red]nothing[/] was copied: name the folder that holds the images, or their layout by --config")


def _print_gone(done: Deidentified) -> None:
    from collections import Counter

    from rich.markup import escape

    folders = Counter(path.rpartition("/")[0] for path in done.gone)
    for folder, count in sorted(folders.items()):
        show.out.print(f"[red]gone[/] {escape(folder or '.')}: {count} files of the copy have no source any more")
    if folders:
        show.out.print(
            "what the source no longer has, or what was not chosen this time, is still in the copy: see why, and if it "
            "is not to be there, remove it by the same command with --remove-gone"
        )


def _summary(found: Audit) -> str:
    kinds = len(found.findings)
    what = f"{kinds} kind{'s' if kinds > 1 else ''} of finding" if kinds else "nothing found"
    return f"{found.files} files checked: {what}; {len(found.unread)} could not be read"


def _failed(failed: dict[str, str]) -> None:
    from rich.markup import escape

    for path, reason in failed.items():
        show.out.print(f"[red]failed[/] {escape(path)}: {escape(reason)}")
