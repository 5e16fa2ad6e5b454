"""The cohort store for medical imaging research.

The public names are those of ``__init__.pyi``. Each is imported when it is first used, so that the command line starts
at once; ``ds.npc`` is registered as soon as both npczarr and xarray are imported.
"""

import importlib

import lazy_loader
import wrapt

__version__ = "0.1.0"
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

wrapt.when_imported("xarray")(lambda xarray: importlib.import_module("npczarr.accessor"))
