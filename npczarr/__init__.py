"""The cohort store for medical imaging research.

The public names are those of ``__init__.pyi``. Each is imported when it is first used, so that the command line starts
at once; ``ds.npc`` is registered as soon as both npczarr and xarray are imported.
"""

import importlib

import lazy_loader
import wrapt

from npczarr import ctrl_c

__version__ = "0.1.0"
_imported, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> object:
    # a module whose import was interrupted stays half there, and breaks every later call in a notebook
    with ctrl_c.deferred():
        return _imported(name)


wrapt.when_imported("xarray")(lambda xarray: importlib.import_module("npczarr.accessor"))
