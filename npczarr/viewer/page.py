"""The files of the page: built from TypeScript by web/build.mjs, and kept beside this module."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from npczarr.errors import ParameterError

_FOLDER = Path(__file__).parent / "static"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
}


@dataclass(frozen=True, slots=True)
class PageFile:
    """One file of the page."""

    content: bytes
    media_type: str


def page_files() -> Mapping[str, PageFile]:
    """Return the files of the page by name."""
    return {
        path.name: PageFile(path.read_bytes(), _TYPES[path.suffix])
        for path in sorted(_FOLDER.iterdir())
        if path.suffix in _TYPES
    }


def export_page(folder: str | Path) -> Path:
    """Write the page into a folder, to be put on any web server beside a public store.

    Parameters
    ----------
    folder
        Folder to create; it may be there, but hold no page of another program.

    Returns
    -------
    Path
        The page; it shows the store that its address names, ``index.html?store=https://…``, and one
        beside it at ``?store=npc.zarr``.

    Raises
    ------
    ParameterError
        If the folder holds another ``index.html``.
    """
    folder = Path(folder)
    files = page_files()
    there = folder / "index.html"
    if there.exists() and b'name="generator" content="npczarr' not in there.read_bytes():
        raise ParameterError(f"{there} is a page of another program; name an empty folder")
    (folder / "assets").mkdir(parents=True, exist_ok=True)
    for name, file in files.items():
        target = there if name == "index.html" else folder / "assets" / name
        target.write_bytes(file.content)
    return there
