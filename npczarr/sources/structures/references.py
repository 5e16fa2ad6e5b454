"""Whether a structure was drawn on an image, by the identifiers that both name."""

from __future__ import annotations

from collections.abc import Collection

from npczarr.errors import GeometryError
from npczarr.sources.structures.records import ImageUids


def check_references(
    what: str,
    image: ImageUids | None,
    *,
    series_uids: Collection[str],
    frame_of_reference_uid: str,
    instance_uids: Collection[str] = (),
) -> list[str]:
    """Return what is odd about the references of a structure.

    Coordinates mean the same only in one frame of reference. A structure that names the series of the image, or slices
    of it, is taken as drawn on it, whatever frame it names: some tools write a new one.

    Parameters
    ----------
    what
        The structure, for messages.
    image
        Identifiers of the image; nothing is checked without them.
    series_uids, frame_of_reference_uid, instance_uids
        Identifiers that the structure names.

    Raises
    ------
    GeometryError
        If it names another frame of reference, or another series and no frame of reference.
    """
    if image is None:
        return []
    same_frame = _compare(image.frame_of_reference, [frame_of_reference_uid])
    own = _compare(image.series, series_uids) or bool(set(instance_uids) & set(image.instances))
    if own:
        if same_frame is False:
            return ["names this series but another frame of reference; placed by its coordinates"]
        return []
    if same_frame is False:
        raise GeometryError(
            f"{what} is of another frame of reference than the image, so its coordinates do not apply; choose the file "
            "that was drawn on this series, or register the series first"
        )
    another = _compare(image.series, series_uids) is False
    if same_frame is None and another:
        raise GeometryError(
            f"{what} was drawn on another series, and no frame of reference says that both share coordinates; choose "
            "the file that was drawn on this series"
        )
    if another:
        return ["drawn on another series in the same frame of reference; placed by its coordinates"]
    if same_frame is None:
        return ["nothing says on which series it was drawn; placed by its coordinates"]
    return []


def _compare(uid: str, named: Collection[str]) -> bool | None:
    """Whether an identifier is among those that are named; None if either side is not known."""
    known = {other for other in named if other}
    return uid in known if uid and known else None
