"""Whether a store is what it says: its schema, and each scan's voxels, mask and coordinates."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from npczarr.errors import GeometryError, StoreError
from npczarr.model.derived import command_of, is_derived
from npczarr.model.geometry import Grid
from npczarr.model.schema import RESAMPLING, ROW_DIGEST, STATUSES, STORED
from npczarr.store.catalog import CATALOG_KEY, differing_columns
from npczarr.store.chunks import digest, is_padding
from npczarr.store.contents import Contents
from npczarr.store.hierarchy import RESIZING, labels, members_below
from npczarr.store.location import exists, keys_below
from npczarr.store.metadata import consolidated_problems, schema_problems
from npczarr.store.scans import StoredScan, as_stored
from npczarr.store.seal import DECODING, digest_row, read_seal, seal_of
from npczarr.store.storage_errors import first_line
from npczarr.store.whole import is_written_whole

Values = Mapping[str, Any]
#: Entries of a scan's row that :func:`check_scan` holds against the voxels.
CLAIMS = (
    "status", "mask_status", "shape", "spacing", "affine", "z_mm", "image_digest", "mask_digest", "mask_voxels",
    "series_digest", "message",
)  # fmt: skip
_LARGEST_TABLE = 4 * 10**9  # bytes


@dataclass(frozen=True, slots=True)
class Finding:
    """A problem of one scan, or of the whole store where patient and sequence are empty."""

    patient: str
    sequence: str
    problem: str


def check_schema_of(root: zarr.Group) -> list[Finding]:
    """Hold arrays, dimensions, types and units against the schema."""
    return [Finding("", "", problem) for problem in schema_problems(root)]


def check_interrupted(root: zarr.Group) -> list[Finding]:
    """Say where a run was interrupted as it changed the sizes of arrays: what else is found then is no damage."""
    if not exists(root.store, RESIZING):
        return []
    again = "npczarr resample" if RESAMPLING in root.attrs else "npczarr convert"
    problem = (
        "patients, sequences or columns are being added, or a run was interrupted as it added them; run "
        f"`{again}` again to complete it"
    )
    return [Finding("", "", problem)]


def check_consolidated(root: zarr.Group) -> list[Finding]:
    """Hold what most readers see of the metadata against the metadata of each array."""
    return [Finding("", "", problem) for problem in consolidated_problems(root)]


def check_tables(root: zarr.Group, *, results: bool) -> list[Finding]:
    """Read every array that is not voxels, whether anything else asks for it or not.

    Parameters
    ----------
    root
        The store.
    results
        Whether the arrays of results are read, or those of the store itself.
    """
    written_whole = is_written_whole(root.attrs.asdict())
    problems = []
    for path, table in members_below(root):
        if isinstance(table, zarr.Group) or path in ("image", "mask") or ("/" in path) != results:
            continue
        whole = "_FillValue" not in table.attrs if results else written_whole
        problem = _table_problem(root, path, table, whole=whole)
        if problem:
            problems.append(f"{path}: {problem}")
    return [Finding("", "", problem) for problem in problems]


def _table_problem(root: zarr.Group, path: str, table: Any, *, whole: bool) -> str:  # noqa: ANN401 - a zarr array
    """Say what is wrong with a table; "" where nothing is."""
    mend = f"run `{command_of(path)}` again" if is_derived(path) else "validate with --against SOURCE --repair"
    if table.nbytes > _LARGEST_TABLE:
        return f"{table.shape} values, too many for a table of scans; convert into a new store"
    try:
        table[...]
    except Exception as error:  # codecs name damage in a dozen ways
        cause = error.__cause__ if isinstance(error, StoreError) and isinstance(error.__cause__, Exception) else error
        return f"cannot be read ({type(cause).__name__}: {first_line(cause)}); restore it from a copy, or {mend}"
    expected = math.prod(-(-n // chunk) for n, chunk in zip(table.shape, table.chunks, strict=True))
    there = len(keys_below(root.store, f"{path}/c"))
    if there < expected and whole:
        return (
            f"{expected - there} of {expected} chunks are absent and read as fill values; restore them from a copy, "
            f"or {mend}"
        )
    return ""


def check_seal(root: zarr.Group, *, held: bool) -> list[Finding]:
    """Name what is not as npczarr left it.

    Parameters
    ----------
    root
        The store.
    held
        Whether somebody is writing, or was interrupted; then the seal says nothing yet.
    """
    whole = is_written_whole(root.attrs.asdict())
    sealed = read_seal(root.store)
    if held:
        return []
    if sealed is None:
        problem = "no seal, so what another program changed cannot be known; accept the store as it is with --seal"
        return [Finding("", "", problem)] if whole else []
    changed = list(dict.fromkeys([*sealed.changed, *sealed.differences(seal_of(Contents(root)))]))
    if not changed:
        return []
    mend = "repair it from its source (--against SOURCE --repair)"
    paths = [part.removeprefix("attributes of ") for part in changed if part != DECODING]
    if paths and all(is_derived(path) for path in paths):
        mend = " and ".join(dict.fromkeys(f"run `{command_of(path)}` again" for path in paths))
    problem = (
        f"changed since npczarr sealed it, by another program or by damage: {', '.join(changed)}; {mend}, or accept it "
        "as it is (--seal)"
    )
    return [Finding("", "", problem)]


def check_catalog(root: zarr.Group) -> list[Finding]:
    """Hold the catalog against the tables that it says it was made from."""
    wrong = differing_columns(root)
    if not wrong:
        return []
    problem = (
        f"{CATALOG_KEY} is not of the tables that it names, in {', '.join(wrong)}: selections may choose wrongly; "
        "delete it, and any command that writes to the store makes it anew"
    )
    return [Finding("", "", problem)]


def check_rows(root: zarr.Group, tables: Values) -> Iterator[Finding]:
    """Hold what the tables say of each stored scan against the digest of its row."""
    patients, sequences = labels(root, "patient"), labels(root, "sequence")
    whole = is_written_whole(root.attrs.asdict())
    for p, patient in enumerate(patients):
        for s, sequence in enumerate(sequences):
            row = {name: values[p, s] for name, values in tables.items()}
            expected = str(row[ROW_DIGEST])
            if row["status"] == "pending" or not (expected or whole):
                continue
            if not expected:
                yield Finding(patient, sequence, "its row has no digest: another program wrote it")
            elif digest_row(patient, sequence, row) != expected:
                yield Finding(
                    patient, sequence, "its row is not as it was written: a label, or an entry of a table, was changed"
                )


def check_scan(scan: StoredScan, claims: Values, *, whole: bool) -> Iterator[str]:
    """Read a scan back and yield whatever contradicts its row.

    Parameters
    ----------
    scan
        As the store describes it.
    claims
        What its row says, by name as in :data:`CLAIMS`.
    whole
        Whether npczarr alone wrote the store, so that every object of the scan's box must be there.
    """
    status = str(claims["status"])
    if status not in STATUSES:
        yield f"unknown status {status!r}"
        return
    if status == "pending":
        yield "not complete: an interrupted run left it; convert again, or import the masks again if that was the run"
        return
    try:
        image, masks = _everything(scan)
    except Exception as error:
        reason = "a checksum does not match" if "checksum" in str(error) else f"{type(error).__name__}: {error}"
        yield f"voxels cannot be read, {reason}; write the scan again (convert --rewrite)"
        return
    padding = scan.image_array.padding
    z, y, x = (int(n) for n in claims["shape"])
    if status in ("refused", "missing"):
        if not is_padding(image, padding).all() or masks.any():
            yield f"{status}, but there are voxels"
        return
    if min(z, y, x) < 1 or any(n > extent for n, extent in zip((z, y, x), image.shape, strict=True)):
        yield f"shape {(z, y, x)} does not fit the arrays, {image.shape}"
        return
    yield from _check_voxels(image, masks, (slice(z), slice(y), slice(x)), padding, claims)
    if masks.max() > len(scan.labels):
        known = "0 and 1" if len(scan.labels) == 1 else f"0 to {len(scan.labels)} ({', '.join(scan.labels)})"
        yield f"mask holds {masks.max()}, expected {known}"
    yield from _check_objects(scan, image, masks, (z, y, x), whole=whole)
    yield from _check_geometry((z, y, x), claims)


def _everything(scan: StoredScan) -> tuple[NDArray[Any], NDArray[Any]]:
    """Read all that a store holds at the place of a scan, padding too: (z, y, x), and (z, y, x) or (rater, z, y, x)."""
    z, y, x = (slice(0, n) for n in scan.image_array.shape[-3:])
    image = scan.image_array.read(scan.place, (z, y, x))
    if not scan.raters:
        return image, scan.mask_array.read(scan.place, (z, y, x))
    masks = [scan.mask_array.read((*scan.place, rater), (z, y, x)) for rater in range(len(scan.raters))]
    return image, np.stack(masks)


def _check_objects(
    scan: StoredScan, image: NDArray[Any], masks: NDArray[Any], shape_zyx: tuple[int, int, int], *, whole: bool
) -> Iterator[str]:
    """Yield the objects of a scan's box that are absent though the scan needs them.

    xarray leaves out chunks that hold the fill value alone when it copies a store; that their values are right is seen
    by their digest, so in a copy only an absent object with wrong values is reported.
    """
    z, y, x = (slice(n) for n in shape_zyx)
    expected = [("image", image[z, y, x], scan.image_digest)] if scan.image_digest else []
    expected += [("mask", masks[..., z, y, x], scan.mask_digest)] if scan.mask_digest else []
    for name, values, known in expected:
        if not whole and any(digest(one) == known for one in as_stored(values)):
            continue
        array = scan.image_array if name == "image" else scan.mask_array
        raters = [(r,) for r in range(len(scan.raters))] if name == "mask" and scan.raters else [()]
        for rater in raters:
            absent = array.absent_objects((*scan.place, *rater), shape_zyx)
            if absent:
                yield f"{len(absent)} object(s) of the {name} are absent, the first {absent[0]}"


def _check_voxels(
    image: NDArray[Any], mask: NDArray[Any], window: tuple[slice, ...], padding: float, claims: Values
) -> Iterator[str]:
    scan, outline = image[window], mask[..., window[0], window[1], window[2]]
    if not claims["image_digest"]:
        if not is_padding(image, padding).all():
            yield "voxels of an image that the tables do not know"
    elif not _padded(image, window, padding, str(claims["image_digest"])):
        yield "padding inside the scan, or voxels outside it"
    elif all(digest(one) != claims["image_digest"] for one in as_stored(scan)):
        yield "voxels of the image do not match their digest"
    if np.count_nonzero(mask) != np.count_nonzero(outline):
        yield "tumor outside the scan"
    has_mask = claims["mask_status"] in STORED
    if has_mask and all(digest(one) != claims["mask_digest"] for one in as_stored(outline)):
        yield "voxels of the mask do not match their digest"
    if np.count_nonzero(outline) != claims["mask_voxels"]:
        yield f"{np.count_nonzero(outline)} voxels outlined, the tables say {claims['mask_voxels']}"


def _padded(image: NDArray[Any], window: tuple[slice, ...], padding: float, expected: str) -> bool:
    """Whether there is padding outside the scan, and none inside; a resampled scan has some where the source ended."""
    everywhere = np.count_nonzero(~is_padding(image, padding))
    inside = ~is_padding(image[window], padding)
    return bool(
        everywhere == np.count_nonzero(inside)
        and (inside.all() or np.isnan(padding) or digest(image[window]) == expected)
    )


def _check_geometry(shape_zyx: tuple[int, int, int], claims: Values) -> Iterator[str]:
    try:
        grid = Grid(shape_zyx, claims["affine"])
    except GeometryError as error:
        yield str(error)
        return
    spacing = np.asarray(claims["spacing"], dtype=np.float64)
    known = np.isfinite(spacing)
    if not np.allclose(spacing[known], grid.spacing_zyx_mm[known], rtol=1e-9, atol=0):
        yield f"spacing {spacing.tolist()} mm contradicts the affine, {grid.spacing_zyx_mm.tolist()} mm"
    found, expected = np.asarray(claims["z_mm"], dtype=np.float64), grid.axis_positions_mm()[0]
    depth = shape_zyx[0]
    if not np.allclose(found[:depth], expected, rtol=0, atol=1e-6) or np.isfinite(found[depth:]).any():
        yield "z_mm contradicts the affine"
