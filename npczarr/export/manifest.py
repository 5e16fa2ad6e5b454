"""The record of an export folder, ``export.json``, by which a later run knows which files to keep."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from npczarr.errors import ParameterError
from npczarr.outputs import write_whole

NAME = "export.json"
_FLUSH_SECONDS = 2.0


@dataclass(slots=True)
class Manifest:
    """The record of an export folder; one process writes it, after the files that it lists."""

    folder: Path
    parameters: Mapping[str, Any]
    scans: dict[str, dict[str, Any]] = field(default_factory=dict)
    written: float = field(default_factory=time.monotonic)

    @classmethod
    def open(cls, folder: Path, parameters: Mapping[str, Any]) -> Manifest:
        """Open or begin the record of a folder.

        Raises
        ------
        ParameterError
            If the folder holds something else, or an export of another kind.
        """
        folder = folder.expanduser().resolve()
        if folder.exists() and not folder.is_dir():
            raise ParameterError(f"{folder} is a file; name a new folder")
        try:
            found = json.loads((folder / NAME).read_bytes())
            known, scans = found["parameters"], dict(found["scans"])
        except FileNotFoundError:
            if folder.is_dir() and any(folder.iterdir()):
                raise ParameterError(f"{folder} is not empty and holds no earlier export; name a new folder") from None
            known, scans = dict(parameters), {}
        except (ValueError, KeyError, TypeError) as error:
            raise ParameterError(f"{folder / NAME} cannot be read ({error}); name a new folder") from error
        if known != dict(parameters):
            raise ParameterError(f"{folder} holds an export as {known}, not {dict(parameters)}; name a new folder")
        manifest = cls(folder, dict(parameters), scans)
        manifest.write()
        return manifest

    def kept(self, key: str, digest: str) -> tuple[str, ...] | None:
        """Files of a scan that exist and were made from the same voxels; else None."""
        entry = self.scans.get(key, {})
        files = tuple(entry.get("files", ()))
        same = files and entry.get("digest") == digest and all((self.folder / name).exists() for name in files)
        return files if same else None

    def add(self, key: str, digest: str, files: Sequence[str]) -> None:
        """Add a scan that was written, and delete files that only an earlier version of it had."""
        for name in set(self.scans.get(key, {}).get("files", ())) - set(files):
            path = (self.folder / name).resolve()
            if path.is_file() and path.is_relative_to(self.folder):
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
