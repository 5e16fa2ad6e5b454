"""The cohort store for medical imaging research.

``ds.npc`` is there as soon as both npczarr and xarray are imported; everything else is imported when first used, so
that the command line starts at once.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from npczarr.errors import (
        ClusterError,
        GeometryError,
        LeaseError,
        NpczarrError,
        ParameterError,
        SourceError,
        StoreError,
    )
    from npczarr.export.back import import_masks
    from npczarr.export.cohort import export as export_scans
    from npczarr.graphs.convert import convert
    from npczarr.graphs.measure import agreement, compare_masks, measure_mask, morphology
    from npczarr.graphs.measure_store import measure_store
    from npczarr.graphs.resample import resample
    from npczarr.graphs.resample_store import resample_store
    from npczarr.graphs.score import score
    from npczarr.graphs.validate_store import validate
    from npczarr.phantom import make_cohort
    from npczarr.privacy.audit import audit
    from npczarr.privacy.deidentify import deidentify
    from npczarr.report import figures, tables
    from npczarr.report.flags import quality
    from npczarr.report.page import write_report
    from npczarr.runner import Progress
    from npczarr.sources.download import download
    from npczarr.store.info import info
    from npczarr.store.open import open_store as open

__version__ = "0.1.0"
__all__ = [
    "ClusterError",
    "GeometryError",
    "LeaseError",
    "NpczarrError",
    "ParameterError",
    "Progress",
    "SourceError",
    "StoreError",
    "agreement",
    "audit",
    "compare_masks",
    "convert",
    "deidentify",
    "download",
    "export_scans",
    "figures",
    "import_masks",
    "info",
    "make_cohort",
    "measure_mask",
    "measure_store",
    "morphology",
    "open",
    "quality",
    "resample",
    "resample_store",
    "score",
    "tables",
    "validate",
    "write_report",
]

_PLACES = {
    "agreement": ("npczarr.graphs.measure", "agreement"),
    "audit": ("npczarr.privacy.audit", "audit"),
    "compare_masks": ("npczarr.graphs.measure", "compare_masks"),
    "deidentify": ("npczarr.privacy.deidentify", "deidentify"),
    "download": ("npczarr.sources.download", "download"),
    "export_scans": ("npczarr.export.cohort", "export"),
    "measure_mask": ("npczarr.graphs.measure", "measure_mask"),
    "measure_store": ("npczarr.graphs.measure_store", "measure_store"),
    "morphology": ("npczarr.graphs.measure", "morphology"),
    "convert": ("npczarr.graphs.convert", "convert"),
    "import_masks": ("npczarr.export.back", "import_masks"),
    "info": ("npczarr.store.info", "info"),
    "Progress": ("npczarr.runner", "Progress"),
    "make_cohort": ("npczarr.phantom", "make_cohort"),
    "open": ("npczarr.store.open", "open_store"),
    "quality": ("npczarr.report.flags", "quality"),
    "resample": ("npczarr.graphs.resample", "resample"),
    "resample_store": ("npczarr.graphs.resample_store", "resample_store"),
    "score": ("npczarr.graphs.score", "score"),
    "write_report": ("npczarr.report.page", "write_report"),
    "validate": ("npczarr.graphs.validate_store", "validate"),
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - any public name
    if name not in __all__:
        raise AttributeError(f"module 'npczarr' has no attribute {name!r}")
    if name in ("tables", "figures"):
        return importlib.import_module(f"npczarr.report.{name}")
    module, attribute = _PLACES.get(name, ("npczarr.errors", name))
    return getattr(importlib.import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted(__all__)


class _AccessorWithXarray(importlib.abc.MetaPathFinder):
    """Registers ``ds.npc`` once xarray is imported: importing it here would cost every command line call its time."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != "xarray":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is None or spec.loader is None:
            return spec
        load = spec.loader.exec_module

        def load_both(module: ModuleType) -> None:
            load(module)
            importlib.import_module("npczarr.accessor")

        spec.loader.exec_module = load_both  # type: ignore[method-assign]
        return spec


if "xarray" in sys.modules:
    importlib.import_module("npczarr.accessor")
else:
    sys.meta_path.insert(0, _AccessorWithXarray())
