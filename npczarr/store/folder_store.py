"""A store in a folder: its errors are ours, and its objects are written by the thread that made them."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from zarr.abc.store import ByteRequest
from zarr.storage import LocalStore

from npczarr.store.storage_errors import translate_errors
from npczarr.store.zarr_library import Buffer, BufferPrototype

_SLOW_SECONDS = 0.01  # for one object: a network drive; a local disk takes a chunk in one or two milliseconds
_WRITTEN_AT_ONCE = 16  # objects, where the disk is slow
#: How the names of files end that are not written whole yet, here and in zarr-python.
DRAFT = ".partial"


class FolderStore(LocalStore):
    """A folder; a full disk, a lack of permission or a damaged disk is one line that names the object."""

    async def get(
        self, key: str, prototype: BufferPrototype | None = None, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Read an object or a part of it, or None where there is none."""
        with translate_errors(self, f"read {key}"):
            return await super().get(key, prototype, byte_range)

    async def set(self, key: str, value: Buffer) -> None:
        """Write an object as a whole."""
        with translate_errors(self, f"write {key}"):
            await super().set(key, value)

    async def delete(self, key: str) -> None:
        """Delete an object, if there is one."""
        with translate_errors(self, f"delete {key}"):
            await super().delete(key)

    def put_all(self, contents: Iterable[tuple[str, bytes]]) -> None:
        """Write objects, each as a whole: one after another, and several at once where the disk is slow to answer.

        To hand each object of a local disk to another thread would take a tenth of a conversion's time.
        """
        rest = iter(contents)
        for key, content in rest:
            started = time.perf_counter()
            self._put(key, content)
            if time.perf_counter() - started > _SLOW_SECONDS:
                break
        else:
            return
        with ThreadPoolExecutor(_WRITTEN_AT_ONCE) as pool:
            writes = [pool.submit(self._put, *item) for item in rest]
        for write in writes:  # all have ended before an error is told
            write.result()

    def _put(self, key: str, content: bytes) -> None:
        with translate_errors(self, f"write {key}"):
            self._check_writable()
            path = Path(self.root, key)
            partial = path.with_name(f"{path.name}.{uuid.uuid4().hex}{DRAFT}")
            try:
                file = partial.open("xb")
            except FileNotFoundError:
                path.parent.mkdir(parents=True, exist_ok=True)
                file = partial.open("xb")
            try:
                with file:
                    file.write(content)
                partial.replace(path)
            except BaseException:
                partial.unlink(missing_ok=True)
                raise
