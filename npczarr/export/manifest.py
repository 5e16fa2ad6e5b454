"""The record of an export folder, ``export.json``, by which a later run knows which files to keep.

It names the files of a scan before they are written, and has their digest once all are there: what a run that was
killed leaves is known, and not kept.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from npczarr.errors import ParameterError
from npczarr.outputs import expanded, hold_folder, write_whole

NAME = "export.json"
_FLUSH_SECONDS = 2.0
_DRAFT = re.compile(r"\.[0-9a-f]{8}-(.+)", re.DOTALL)  # as npczarr.outputs calls a file that is not yet whole


@dataclass(slots=True)
class Manifest:
    """The record of an export folder; only the process that holds the folder writes it."""

    folder: Path
    parameters: Mapping[str, Any]
    scans: dict[str, dict[str, Any]] = field(default_factory=dict)
    written: float = field(default_factory=time.monotonic)

    @classmethod
    @contextmanager
    def open(cls, folder: Path, parameters: Mapping[str, Any]) -> Iterator[Manifest]:
        """Open or begin the record of a folder, and keep other runs out of the folder while the block runs.

        Raises
        ------
        ParameterError
            If the folder holds something else, or an export of another kind; if another run is writing there.
        """
        folder = expanded(folder).resolve()
        if folder.exists() and not folder.is_dir():
            raise ParameterError(f"{folder} is a file; name a new folder")
        folder.mkdir(parents=True, exist_ok=True)
        with hold_folder(folder):
            yield cls(folder, dict(parameters), _scans(folder, parameters))

    def kept(self, key: str, digest: str) -> tuple[str, ...] | None:
        """Files of a scan that exist and were made from the same voxels; else None."""
        entry = self.scans.get(key, {})
        files = tuple(entry.get("files", ()))
        same = files and entry.get("digest") == digest and all((self.folder / name).exists() for name in files)
        return files if same else None

    def begin(self, waiting: Mapping[str, Sequence[str]]) -> None:
        """Record what is going to be written, and delete the drafts that a killed run left.

        Parameters
        ----------
        waiting
            Files of each scan to write. One that is there and that no run has recorded is somebody else's, and is not
            recorded before it is overwritten.

        Raises
        ------
        ParameterError
            If two scans would be written to one file.
        """
        self._check_apart(waiting)
        folder = str(self.folder)  # a Path for each of many thousand slices would take seconds
        for key, files in waiting.items():
            before = self.scans.get(key, {}).get("files", ())
            new = [name for name in files if name not in before and not os.path.exists(f"{folder}/{name}")]
            self.scans[key] = {"digest": "", "files": [*before, *new]}
        self.write()
        for name in list(self.drafts()):
            _delete(self.folder / name)

    def _check_apart(self, waiting: Mapping[str, Sequence[str]]) -> None:
        others = {key: entry.get("files", ()) for key, entry in self.scans.items() if key not in waiting}
        owners = {name: key for key, files in others.items() for name in files}
        for key, files in waiting.items():
            for name in files:
                if (other := owners.setdefault(name, key)) != key:
                    raise ParameterError(
                        f"{self.folder}: {name} would be a file of {other} and of {key}: the masks of T1WI, T2WI and "
                        "CE-T1WI have the names of the published cohort; export the two sequences into folders of "
                        "their own"
                    )

    def add(self, key: str, digest: str, files: Sequence[str]) -> None:
        """Add a scan that was written, and delete files that only an earlier version of it had."""
        for name in set(self.scans.get(key, {}).get("files", ())) - set(files):
            path = self._below(name)
            if path is not None and path.is_file():
                path.unlink()
        self.scans[key] = {"digest": digest, "files": list(files)}
        if time.monotonic() - self.written > _FLUSH_SECONDS:
            self.write()

    def write(self) -> None:
        """Write the record."""
        scans = dict(sorted(self.scans.items()))  # in one order, whichever was written first
        about = {"npczarr_version": version("npczarr"), "parameters": dict(self.parameters), "scans": scans}
        write_whole(self.folder / NAME, json.dumps(about, indent=1).encode())
        self.written = time.monotonic()

    def names(self) -> set[str]:
        """Return the names below the folder of all files that were written, or begun."""
        return {name for entry in self.scans.values() for name in entry.get("files", ())}

    def drafts(self) -> Iterator[str]:
        """Give the names below the folder of drafts of these files: a run that was killed left them."""
        ours = {*self.names(), NAME}
        for name in sorted({name.rpartition("/")[0] for name in ours}):
            folder = self._below(name)
            if folder is not None and folder.is_dir():
                below = f"{name}/" if name else ""
                yield from (below + path.name for path in folder.iterdir() if below + _final_name(path) in ours)

    def _below(self, name: str) -> Path | None:
        """Return the path of a name; None where it leads out of the folder, or this locale has no letters for it."""
        try:
            path = (self.folder / name).resolve()
        except UnicodeEncodeError:  # a run in another locale wrote it
            return None
        return path if path.is_relative_to(self.folder) else None


def _final_name(draft: Path) -> str:
    """Return the name that a draft would have got; "" of what is no draft."""
    found = _DRAFT.fullmatch(draft.name)
    return "" if found is None else found[1]


def _delete(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _scans(folder: Path, parameters: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Read the entries of a record; none of an empty folder."""
    try:
        found = json.loads((folder / NAME).read_bytes())
        known, scans = found["parameters"], dict(found["scans"])
    except FileNotFoundError:
        if any(_final_name(path) != NAME for path in folder.iterdir()):  # a run was killed as it wrote its first record
            raise ParameterError(f"{folder} is not empty and holds no earlier export; name a new folder") from None
        return {}
    except (ValueError, KeyError, TypeError) as error:
        raise ParameterError(f"{folder / NAME} cannot be read ({error}); name a new folder") from error
    if known != dict(parameters):
        raise ParameterError(f"{folder} holds an export as {known}, not {dict(parameters)}; name a new folder")
    return scans
