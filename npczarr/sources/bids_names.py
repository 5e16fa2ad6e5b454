"""What the names of files in a BIDS dataset say."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from npczarr.model.cohort import File, Visit

_NIFTI = re.compile(
    r"(?P<above>(?:.*/)?)sub-(?P<subject>[^/_]+)/(?:ses-(?P<session>[^/_]+)/)?anat/"
    r"sub-(?P=subject)_(?:ses-(?P=session)_)?(?P<name>[^/]+)\.nii(?:\.gz)?"
)
_MASKS = ("mask", "dseg", "roi", "seg")
_COMPUTED = ("probseg",)


@dataclass(frozen=True, slots=True)
class BidsFile:
    """A NIfTI file: whose it is, and what its name says.

    Parameters
    ----------
    above
        Folders above that of the subject, with a slash at the end.
    name
        What the name says beside subject and session: ``acq-tse_T2w``.
    """

    file: File
    visit: Visit
    above: str
    name: str

    @property
    def suffix(self) -> str:
        """The last part of the name: ``T2w``."""
        return self.name.rpartition("_")[2]

    @property
    def entities(self) -> list[str]:
        """The parts before it: ``["acq-tse"]``."""
        return self.name.split("_")[:-1]

    @property
    def is_mask(self) -> bool:
        """Whether the suffix is that of a mask."""
        return self.suffix in _MASKS

    @property
    def is_image(self) -> bool:
        """Whether it is an image of the dataset itself, neither a mask nor something computed."""
        return self.suffix not in (*_MASKS, *_COMPUTED) and "derivatives/" not in self.above


def read_name(file: File) -> BidsFile | None:
    """Read the name of a file; None where it is no NIfTI file of a subject's anatomy."""
    match = _NIFTI.fullmatch(file.path)
    if match is None:
        return None
    return BidsFile(file, Visit(match["subject"], match["session"] or ""), match["above"], match["name"])


def by_visit(files: Iterable[BidsFile]) -> dict[Visit, list[BidsFile]]:
    """List files by the visit that they are of."""
    found: dict[Visit, list[BidsFile]] = {}
    for one in files:
        found.setdefault(one.visit, []).append(one)
    return found


def describe_alike(lines: Iterable[tuple[str, Visit, str]]) -> list[str]:
    """Tell files of one name and one reason on one line, with the first visit of which they are.

    Parameters
    ----------
    lines
        What the file is, such as ``mask desc-brain_mask``; whose it is; and what is to be said of it.
    """
    visits: dict[tuple[str, str], list[str]] = {}
    for what, visit, reason in lines:
        visits.setdefault((what, reason), []).append(visit.label)
    return [
        f"{what} of {labels[0]}{f' and {len(labels) - 1} others' if len(labels) > 1 else ''}: {reason}"
        for (what, reason), labels in visits.items()
    ]
