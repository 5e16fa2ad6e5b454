"""The published record, fetched and verified."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pooch

from npczarr.errors import ParameterError, SourceError, check_lists
from npczarr.model.options import check_local
from npczarr.model.progress import OnProgress
from npczarr.outputs import expanded
from npczarr.sources.resume import Fetch

#: Zenodo record 13131827 (CC BY 4.0); it publishes no SHA-256 of the second file.
RECORD = "https://zenodo.org/records/13131827/files"
FILES: dict[str, str | None] = {
    "primary_data.zip": "7ed81ca69c92a289ed0d6b8d1387bfe3db4ebe1717750cf94721f992f9ae6b4f",
    "inner_reliability.zip": None,
}


@dataclass(frozen=True, slots=True)
class Downloaded:
    """A file of the record.

    Parameters
    ----------
    path, size
        Path of the file, and its size in bytes.
    sha256
        Computed from the file.
    verified
        Whether that is the published one; False where none is published and the archive was read through instead.
    kept
        Whether it was there already.
    """

    path: Path
    size: int
    sha256: str
    verified: bool
    kept: bool


def download(
    out: str | Path,
    *,
    url: str | Path | None = None,
    files: Sequence[str] = tuple(FILES),
    on_progress: OnProgress | None = None,
) -> list[Downloaded]:
    """Download the published cohort; complete files are kept, an interrupted download is resumed.

    Parameters
    ----------
    out
        Folder for the files.
    url
        Where else they are: the address of a folder that holds them, or of one of them; or a local folder or file.
    files
        Which: ``primary_data.zip`` (scans, masks, tables), ``inner_reliability.zip`` (masks of two raters). An address
        that ends in one of these names stands for that file alone.
    on_progress
        Called with a :class:`npczarr.Progress` in bytes, whose note is the name of the file, at the start of each file
        and after each piece. A file that is there is passed over.

    Returns
    -------
    list of Downloaded
        One for each file.

    Raises
    ------
    ParameterError
        If a file is not in the record.
    SourceError
        If a file cannot be fetched, there is no room for it, or it is not the published one: it is then set aside as
        ``NAME.bad``.
    """
    check_lists(files=files)
    base, names = _where(str(url or RECORD), tuple(files))
    unknown = sorted(set(names) - set(FILES))
    if unknown:
        raise ParameterError(f"the record has no file {unknown[0]!r}; it has {', '.join(FILES)}")
    check_local(out)
    folder = expanded(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SourceError(f"{folder}: cannot be made ({error.strerror}); choose another folder") from error
    with _quiet_pooch():
        return [_fetch(folder, name, base, on_progress) for name in names]


def _where(address: str, names: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """Split an address of one file into that of its folder and its name; a local path becomes a file address."""
    if "://" not in address:
        path = expanded(address).resolve()
        if not path.exists():
            raise SourceError(f"{address}: there is no such file or folder; give one, or an address (--url)")
        address = path.as_uri()
    last = urlsplit(address).path.rstrip("/").rpartition("/")[2]
    if last.endswith(".zip"):
        parts = urlsplit(address)
        return urlunsplit(parts._replace(path=parts.path.rpartition("/")[0])), (last,)
    return address, names


def _fetch(folder: Path, name: str, base: str, on_progress: OnProgress | None) -> Downloaded:
    """Fetch one file through pooch, which keeps what has the right hash and verifies what comes."""
    expected = FILES[name]
    target = folder / name
    there = target.exists()
    if there and expected is None:
        _read_through(target)
        return _described(target, kept=True)
    parts = urlsplit(base)
    url = urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{name}"))
    fetch = Fetch(folder / f"{name}.part", name, on_progress)
    try:
        pooch.retrieve(url, expected and f"sha256:{expected}", fname=name, path=folder, downloader=fetch)
    except ValueError as error:  # pooch: the hash is another one
        bad = fetch.set_aside(folder / f"{name}.bad")
        kept = f"it was set aside as {bad}" if bad else "it was not kept"
        raise SourceError(
            f"{name} from {fetch.shown(url)}: its SHA-256 is not the published {expected}; {kept}. Download it again, "
            "or from another place (--url)"
        ) from error
    except OSError as error:  # of the folder
        raise SourceError(f"{folder}: cannot be written ({error.strerror}); choose another folder") from error
    fetch.clear()
    if expected is None:
        _read_through(target)
    return _described(target, kept=there and not fetch.used)


def _read_through(path: Path) -> None:
    """Check every checksum in an archive that has no published hash."""
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
    except Exception as error:  # zipfile and zlib name damage in a dozen ways
        broken = str(error)
    if broken is not None:
        bad = path.with_name(path.name + ".bad")
        path.replace(bad)
        raise SourceError(
            f"{path.name}: the archive is damaged ({broken}); it was set aside as {bad}. Download it again"
        )


def _described(path: Path, *, kept: bool) -> Downloaded:
    found = pooch.file_hash(str(path), alg="sha256")
    return Downloaded(path, path.stat().st_size, found, found == FILES[path.name], kept)


@contextmanager
def _quiet_pooch() -> Iterator[None]:
    """Silence the logger of pooch: the caller decides what is printed."""
    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel("ERROR")
    try:
        yield
    finally:
        logger.setLevel(level)
