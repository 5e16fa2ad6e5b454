"""The numbers: one NumPy block in, numbers or a block out. No files, no xarray, no Dask."""

import os
import tempfile
from pathlib import Path


def set_cache_folder(package: Path, home: Path) -> None:
    """Name a folder for compiled functions where numba would find none: it refuses to import what it cannot keep.

    numba keeps them beside the package, or in the user's cache folder. Where neither can be written, they go to a
    folder of this user alone below the temporary one; processes that are started later use it too.

    Parameters
    ----------
    package
        Folder of the modules that are compiled.
    home
        The user's cache folder.
    """
    if "NUMBA_CACHE_DIR" in os.environ or any(_may_be_written(folder) for folder in (package / "__pycache__", home)):
        return
    user = os.getuid() if hasattr(os, "getuid") else os.getlogin()
    folder = Path(tempfile.gettempdir(), f"npczarr-numba-{user}")
    folder.mkdir(mode=0o700, exist_ok=True)
    # what lies there is run: nobody else may have made the folder, or write to it
    found = folder.lstat()
    if folder.is_symlink() or (hasattr(os, "getuid") and (found.st_uid != os.getuid() or found.st_mode & 0o022)):
        folder = Path(tempfile.mkdtemp(prefix="npczarr-numba-"))
    os.environ["NUMBA_CACHE_DIR"] = str(folder)


def _may_be_written(folder: Path) -> bool:
    """Whether a folder may be written to, or made."""
    there = next(one for one in (folder, *folder.parents) if one.exists())
    return there.is_dir() and os.access(there, os.W_OK)


_CACHE = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
set_cache_folder(Path(__file__).parent, Path(_CACHE, "numba"))
