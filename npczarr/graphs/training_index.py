"""Statistics and foreground of every scan of a store, kept beside it for training."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray

from npczarr.errors import NpczarrError
from npczarr.kernels.patches import scan_facts
from npczarr.model.schema import SCAN
from npczarr.model.training import TRAINING, VARIABLES, VERSION, ScanFacts
from npczarr.runner import Runner
from npczarr.store.cohort import StoredCohort
from npczarr.store.lease import Lease
from npczarr.store.results import WRITTEN_BY, StoredResult, read_result, say_damage, write_result
from npczarr.store.scans import StoredScan

_NUMBERS = tuple(variable.name for variable in VARIABLES if variable.name != "foreground")


@dataclass(frozen=True, slots=True, eq=False)
class FactsTask:
    """One scan of which the facts are wanted."""

    scan: StoredScan


def index_scans(root: zarr.Group, cohort: StoredCohort, runner: Runner, lease: Lease) -> None:
    """Find the facts of every scan that has none yet, and write them all.

    Parameters
    ----------
    root
        The store, to be written.
    cohort
        The same, to be read.
    runner
        Runs the tasks.
    lease
        The right to write.
    """
    scans = [scan for scan in cohort if scan.has_image]
    digests = {scan.place: f"{scan.image_digest} {scan.mask_digest}" for scan in scans}
    kept = read_result(root, TRAINING)
    say_damage(str(root.store), kept.damage)
    known = _known(kept.result, digests)
    tasks = [FactsTask(scan) for scan in scans if scan.place not in known]
    for task, outcome in runner.run(find_facts, tasks, name=lambda task: f"facts-{task.scan.label}"):
        if isinstance(outcome, ScanFacts):
            known[task.scan.place] = outcome
        elif not isinstance(outcome, NpczarrError):  # of a damaged scan validate tells; sampling it is an error
            raise outcome
    if tasks:
        attributes = {"npczarr_training": VERSION, WRITTEN_BY: version("npczarr")}
        facts = _as_dataset(cohort, known, digests)
        with lease.writing():
            write_result(root, TRAINING, facts, attributes)


def find_facts(task: FactsTask) -> ScanFacts:
    """Read one scan and find its facts."""
    scan = task.scan
    mask: Any = scan.mask() if scan.has_mask else None
    return scan_facts(scan.image(), mask, scan.image_array.padding)


def _known(stored: StoredResult | None, digests: dict[tuple[int, int], str]) -> dict[tuple[int, int], ScanFacts]:
    """Return the facts that are kept of scans that are still the same."""
    if stored is None or stored.attributes.get("npczarr_training") != VERSION:
        return {}
    known = {}
    values = {name: table.values for name, table in stored.tables.items()}
    for place, expected in digests.items():
        if str(values["input_digest"][place]) == expected:
            points = values["foreground"][place]
            numbers = [float(values[name][place]) for name in _NUMBERS]
            known[place] = ScanFacts.of(numbers, points[points[:, 0] > 0])
    return known


def _as_dataset(
    cohort: StoredCohort, known: dict[tuple[int, int], ScanFacts], digests: dict[tuple[int, int], str]
) -> xr.Dataset:
    labels = {dim: np.array(cohort.labels[dim], dtype=object) for dim in SCAN}
    shape = (len(labels["patient"]), len(labels["sequence"]))
    most = max([1, *(len(facts.foreground) for facts in known.values())])
    values: dict[str, NDArray[Any]] = {name: np.full(shape, np.nan) for name in _NUMBERS}
    values["foreground"] = np.zeros((*shape, most, 4), np.int32)
    texts = np.full(shape, "", dtype=object)
    for place, facts in known.items():
        texts[place] = digests[place]
        values["foreground"][place][: len(facts.foreground)] = facts.foreground
        for name in _NUMBERS:
            values[name][place] = getattr(facts, name)
    made = {v.name: (v.dims, values[v.name], v.all_attributes()) for v in VARIABLES}
    about = {"long_name": "digests of image and mask in which the facts were found"}
    return xr.Dataset({**made, "input_digest": (SCAN, texts, about)}, coords={dim: (dim, labels[dim]) for dim in SCAN})
