"""Which masks of a BIDS dataset are of a tumor, and on which image each was drawn."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from fnmatch import fnmatch

from npczarr.model.cohort import File, Visit
from npczarr.sources.bids_names import BidsFile, by_visit, describe_alike
from npczarr.sources.config import SequenceRule

Key = tuple[str, str]
#: Parts of a name that tell nothing of the sequence that a mask was drawn on.
_OF_MASKS = ("desc-", "label-", "seg-", "atlas-", "space-", "hemi-", "res-", "den-")
_SAY_OF_WHAT = ("desc-", "label-", "seg-", "atlas-")
_TUMOR = re.compile(
    r"tumou?r|lesion|gtv|cancer|carcinom|neoplas|metasta|gliom|lymphom|sarcom|(?<![a-z])roi(?![a-z])", re.IGNORECASE
)
_OWN_SPACES = ("orig", "individual", "scanner", "native")


def give_masks(
    masks: Iterable[BidsFile],
    images: Sequence[BidsFile],
    label_of: Callable[[BidsFile], str],
    rules: Sequence[SequenceRule],
    *,
    has_labels: bool,
) -> tuple[dict[Key, list[File]], list[str]]:
    """Give each mask of a tumor to the image that its name tells, or to the only one that is taken.

    Parameters
    ----------
    masks, images
        Files of the whole dataset, also images that are not taken.
    label_of
        Sequence in the store of an image; "" where it is not taken.
    rules
        What the configuration says: a mask whose name is that of `mask` is taken whatever it is of.
    has_labels
        Whether the configuration says what the values of masks are.

    Returns
    -------
    tuple
        Files by patient and sequence; and which masks were passed over or compete, and why, one line for each kind.
    """
    given: dict[Key, list[BidsFile]] = {}
    chosen: dict[Key, list[BidsFile]] = {}
    passed_over = []
    images_by_visit = by_visit(images)
    for mask in masks:
        there = images_by_visit.get(mask.visit, [])
        taken = {one.name: label for one in there if (label := label_of(one))}
        if named := [rule.name for rule in rules if fnmatch(mask.name.lower(), rule.mask.lower())]:
            for sequence in {*named} & {*taken.values()}:
                chosen.setdefault((mask.visit.label, sequence), []).append(mask)
        elif reason := taken and (_no_tumor(mask, there, has_labels=has_labels) or _not_told(mask, there, taken)):
            passed_over.append((f"mask {mask.name}", mask.visit, reason))
        elif taken:
            (image,) = _drawn_on(mask, there, taken)
            given.setdefault((mask.visit.label, taken[image.name]), []).append(mask)
    given |= chosen
    lines = describe_alike([*passed_over, *_competing(given)])
    return {key: [mask.file for mask in found] for key, found in given.items()}, lines


def _no_tumor(mask: BidsFile, images: Sequence[BidsFile], *, has_labels: bool) -> str:
    """Say why a mask is not taken for that of a tumor in the space of the images; "" where it is.

    Programs for other purposes write masks of the brain, of tissue and of organs beside the images, as fMRIPrep does.
    """
    words = {image.suffix for image in images}
    says = [part for part in mask.entities if part.startswith(_SAY_OF_WHAT) and part.partition("-")[2] not in words]
    advice = f"if it is, name it: [sequences] {_advised_rule(mask, images)}"
    if says and not any(_TUMOR.search(part.partition("-")[2]) for part in says):
        return f"{', '.join(says)} does not say that it is of a tumor (tumor, lesion, GTV or ROI); {advice}"
    if mask.suffix == "dseg" and not says and not has_labels:
        return f"nothing says which of the structures in it is the tumor; say it in [labels]; or, {advice}"
    spaces = [part for part in mask.entities if part.startswith("space-")]
    own = {*words, *_OWN_SPACES, *(part.removeprefix("space-") for image in images for part in image.entities)}
    if any(part.removeprefix("space-") not in own for part in spaces):
        return f"no image is in its space, {', '.join(spaces)}; if one is, name the mask in [sequences]"
    return ""


def _advised_rule(mask: BidsFile, images: Sequence[BidsFile]) -> str:
    """Write the rule that names a mask, of the image that its space or else its name tells; of none in particular."""
    spaces = {part.removeprefix("space-") for part in mask.entities if part.startswith("space-")}
    in_space = [image for image in images if image.suffix in spaces] or images
    meant = _drawn_on(mask, in_space, {image.name for image in in_space})
    return f'NAME = {{ folder = "{meant[0].name if meant else "…"}", mask = "{mask.name}" }}'


def _not_told(mask: BidsFile, images: Sequence[BidsFile], taken: Collection[str]) -> str:
    """Say why it is not known on which image a mask was drawn; "" where it is."""
    meant = _drawn_on(mask, images, taken)
    if not meant:
        names = ", ".join(sorted(taken))
        return (
            f"nothing in its name tells which of {names} it was drawn on; name it (as in desc-T1w_mask), or describe "
            "the layout in a TOML file"
        )
    return "" if meant[0].name in taken else f"it was drawn on {meant[0].name}, which is not taken"


def _drawn_on(mask: BidsFile, images: Sequence[BidsFile], taken: Collection[str]) -> list[BidsFile]:
    """Find the one image that the name of a mask tells.

    By its suffix, alone or behind ``desc-`` or ``space-``; where a suffix of masks has replaced that, by being the one
    image with the other parts of the name: ``ce-gd_desc-tumor_mask`` is of ``ce-gd_T1w``.
    """
    words = {word for part in mask.entities for word in (part, part.partition("-")[2])}
    by_suffix = [one for one in images if one.suffix in words]
    own = {part for part in mask.entities if "-" in part and not part.startswith(_OF_MASKS)}
    if not by_suffix:
        alike = [one for one in images if own and set(one.entities) == own]
        by_name = [one for one in images if one.name in taken] if len(taken) == 1 else []
        return alike if len(alike) == 1 else by_name
    exact = [one for one in by_suffix if set(one.entities) == own] or by_suffix
    return exact if len(exact) == 1 else []


def _competing(given: dict[Key, list[BidsFile]]) -> list[tuple[str, Visit, str]]:
    """Name the masks of scans that have several: what is stored of such a scan names no files."""
    return [
        (
            f"{len(masks)} masks ({', '.join(sorted(mask.name for mask in masks))})",
            masks[0].visit,
            f'all would be of {sequence}, expected one; keep it, or name it: [sequences] {sequence} = {{ mask = "…" }}',
        )
        for (_, sequence), masks in given.items()
        if len(masks) > 1
    ]
