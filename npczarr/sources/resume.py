"""A downloader for pooch that resumes an interrupted download."""

from __future__ import annotations

import errno
import os
import re
import shutil
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from npczarr.errors import SourceError
from npczarr.model.limits import size
from npczarr.model.options import redacted
from npczarr.model.progress import OnProgress, Progress

TRIES = 6  # in a row without a new byte
WAIT_SECONDS = 1.0  # before the second try, doubled each time
_TIMEOUT_SECONDS = (15, 60)  # to connect; without a byte
_PIECE = 2**16  # what a cut connection can cost
_TRANSIENT = (408, 425, 429, 500, 502, 503, 504)


class Fetch:
    """Downloads one file into a partial one, which stays when it fails; called by pooch.

    Parameters
    ----------
    part
        The partial file. Its version, an ETag or a date that the server gave, is kept in a file beside it.
    name, on_progress
        Name of the file, and what is called at the start and after each piece; None for nothing.

    Attributes
    ----------
    used
        Whether pooch asked for the file.
    """

    def __init__(self, part: Path, name: str, on_progress: OnProgress | None) -> None:
        self.used = False
        self._part = part
        self._version = part.with_name(part.name + ".version")
        self._name = name
        self._total = 0  # bytes; 0 as long as it is not known
        self._on_progress = on_progress

    def __call__(self, url: str, output_file: str, pooch: Any) -> None:  # noqa: ANN401 - as pooch calls it
        """Fetch ``url`` completely, and give it to pooch as ``output_file``."""
        self.used = True
        try:
            if urlsplit(url).scheme == "file":
                self._copy(Path(url2pathname(urlsplit(url).path)))
            else:
                self._download(url)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise self._no_room() from error
            raise SourceError(redacted(f"{self._name}: {error}; the partial file {self._part} is kept")) from error
        os.unlink(output_file)
        try:
            os.link(self._part, output_file)  # two names, so that a file with a wrong hash can be set aside
        except OSError:
            self._part.replace(output_file)

    def set_aside(self, bad: Path) -> Path | None:
        """Rename what was fetched, and return its name; None where the file system could not keep it."""
        self._version.unlink(missing_ok=True)
        return self._part.replace(bad) if self._part.exists() else None

    def report(self, done: int) -> None:
        """Report how many bytes of the file are there."""
        if self._on_progress is not None:
            self._on_progress(Progress(done, self._total or None, "bytes", done, note=self._name))

    def clear(self) -> None:
        """Delete what is no longer needed."""
        self._part.unlink(missing_ok=True)
        self._version.unlink(missing_ok=True)

    @staticmethod
    def shown(url: str) -> str:
        """Write an address without user, password and query, which may be secrets."""
        return redacted(url)

    def _copy(self, path: Path) -> None:
        if not path.is_file():
            raise SourceError(f"{path}: there is no such file")
        self._total = path.stat().st_size
        self._check_room(self._total)
        with path.open("rb") as source, self._part.open("wb") as target:
            self.report(0)
            while piece := source.read(_PIECE):
                target.write(piece)
                self.report(target.tell())

    def _download(self, url: str) -> None:
        """Repeat the request until the file is complete; only consecutive tries without a new byte count."""
        import requests

        self._total = 0
        tries, reason = 0, ""
        while tries < TRIES:
            time.sleep(WAIT_SECONDS * 2 ** (tries - 1) if tries else 0)
            before = self._there()
            try:
                if self._ask(url):
                    return
                reason = f"the connection was cut after {size(self._there())}"
            except requests.RequestException as error:
                response = error.response
                if isinstance(error, ValueError):  # of an address
                    raise SourceError(redacted(f"{url}: {error}; expected an address, or a local path")) from error
                if response is not None and response.status_code not in _TRANSIENT:
                    raise SourceError(
                        f"{self.shown(url)}: the server answers {response.status_code} {response.reason}; check the "
                        "address, or give another one (--url)"
                    ) from error
                reason = f"status {response.status_code}" if response is not None else type(error).__name__
            tries = 1 if self._there() > before else tries + 1
        raise SourceError(
            f"{self.shown(url)}: gave up after {TRIES} tries in a row that brought nothing (last: {reason}); "
            f"{size(self._there())} are kept in {self._part}. The same command goes on from there"
        )

    def _ask(self, url: str) -> bool:
        """Make one request for what is missing; return whether the file is complete."""
        import requests

        headers = {"Accept-Encoding": "identity"}
        done = self._there()
        if done:
            headers["Range"] = f"bytes={done}-"
            if self._version.exists():
                headers["If-Range"] = self._version.read_text(encoding="latin-1")
        with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT_SECONDS) as response:
            if response.status_code == 416:  # nothing behind the partial file: it is whole, or of another version
                if response.headers.get("Content-Range") == f"bytes */{done}":
                    return True
                self.clear()
                return False
            response.raise_for_status()
            start = 0
            if response.status_code == 206:
                start, self._total = _span(response)
                if start != done:  # not what was asked for
                    self.clear()
                    return False
            else:  # the server has another version, or cannot give parts
                self.clear()
                self._total = _number(response.headers.get("Content-Length"))
            self._write(response, start)
        return self._there() == self._total if self._total else True

    def _write(self, response: Any, start: int) -> None:  # noqa: ANN401 - of requests
        version = response.headers.get("ETag", response.headers.get("Last-Modified", ""))
        if version and not version.startswith("W/"):  # a weak tag must not join parts (RFC 9110, 13.1.5)
            self._version.write_text(version, encoding="latin-1")
        self._check_room(self._total - start)
        with self._part.open("ab") as target:
            self.report(target.tell())
            for piece in response.iter_content(_PIECE):
                target.write(piece)
                self.report(target.tell())

    def _there(self) -> int:
        return self._part.stat().st_size if self._part.exists() else 0

    def _check_room(self, missing: int) -> None:
        if missing > shutil.disk_usage(self._part.parent).free:
            raise self._no_room()

    def _no_room(self) -> SourceError:
        folder = self._part.parent
        done, free = self._there(), shutil.disk_usage(folder).free
        need = f"{size(self._total - done)} more" if self._total else "more"
        return SourceError(
            f"no space left for {self._name}: {folder} has {size(free)} free and needs {need}; {size(done)} are kept "
            "there. Make room, or move the partial file to another folder; the same command goes on from there"
        )


def _span(response: Any) -> tuple[int, int]:  # noqa: ANN401 - of requests
    """First byte and whole size of what a partial response holds; -1 where it does not say."""
    found = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", response.headers.get("Content-Range", ""))
    return (int(found[1]), int(found[2])) if found else (-1, 0)


def _number(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdigit() else 0
