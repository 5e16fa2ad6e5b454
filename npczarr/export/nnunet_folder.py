"""The folder of a dataset of nnU-Net: which of its files an earlier export wrote, and which of them stay.

nnU-Net takes every file in its folders of images for a case. So ``export.json`` names each file before it is written, a
later export deletes what it does not write or keep, and files of others are refused. ``dataset.json``, without which
nnU-Net does not start, is absent while cases are written.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from npczarr.errors import ParameterError
from npczarr.export.manifest import Manifest
from npczarr.export.nnunet_case import ENDING
from npczarr.outputs import write_whole

_FOLDERS = ("imagesTr", "labelsTr", "imagesTs", "labelsTs")
_DATASET, _SPLITS, _RULES = "dataset.json", "splits_final.json", "predictions.toml"
_ABOUT_ALL = "/dataset"  # no patient is called so: the entry of the files above


def check_folder(manifest: Manifest, *, chosen: Collection[str], known: Collection[str]) -> None:
    """Refuse a folder into which these patients cannot be exported; no file of it is changed.

    Parameters
    ----------
    manifest
        Record of the folder.
    chosen, known
        Patients to export, and all of the store.

    Raises
    ------
    ParameterError
        If it holds something else, or cases that would have to go although the store has them.
    """
    foreign = next(_foreign_files(manifest), None)
    if foreign is not None:
        raise ParameterError(
            f"no export wrote {foreign}, and it would be taken for a part of the dataset; move it elsewhere, or name a "
            "new folder"
        )
    held = _cases(manifest)
    if held and set(held).isdisjoint(known):
        raise ParameterError(
            f"{manifest.folder} holds another cohort, the first patient is {held[0]}; name a new folder"
        )
    left_out = sorted(set(held).intersection(known).difference(chosen))
    if left_out:
        raise ParameterError(
            f"{manifest.folder} holds {len(left_out)} of the store's patients that this export would leave out, the "
            f"first {left_out[0]}; choose them too, or name a new folder"
        )


def begin(manifest: Manifest, waiting: Mapping[str, Sequence[str]], kept: Collection[str]) -> None:
    """Delete what an earlier export left and this one does not keep, and record what is going to be written.

    Parameters
    ----------
    manifest
        Record of the folder.
    waiting
        Files of each patient to write; of an earlier version, others stay until these are there.
    kept
        Patients whose files stay as they are.
    """
    stale = [patient for patient in _cases(manifest) if patient not in waiting and patient not in kept]
    if waiting or stale:
        for name in (_DATASET, _SPLITS):
            (manifest.folder / name).unlink(missing_ok=True)
    for patient in stale:
        drop(manifest, patient)
    manifest.begin({**waiting, _ABOUT_ALL: (_DATASET, _SPLITS, _RULES)})


def drop(manifest: Manifest, patient: str) -> None:
    """Delete all files of a patient."""
    if patient in manifest.scans:
        manifest.add(patient, "", ())
        del manifest.scans[patient]


def describe(manifest: Manifest, dataset: bytes, splits: bytes | None, rules: bytes) -> None:
    """Write what describes the cases as a whole; without splits, those of an earlier export go."""
    files = {_RULES: rules, **({} if splits is None else {_SPLITS: splits}), _DATASET: dataset}
    manifest.add(_ABOUT_ALL, "", tuple(files))
    for name, content in files.items():
        write_whole(manifest.folder / name, content)
    manifest.write()


def _cases(manifest: Manifest) -> list[str]:
    return [patient for patient in manifest.scans if patient != _ABOUT_ALL]


def _foreign_files(manifest: Manifest) -> Iterator[Path]:
    """Give the files of others at places of this dataset."""
    ours = {*manifest.names(), *manifest.drafts()}
    about_all = [name for name in (_DATASET, _SPLITS, _RULES) if (manifest.folder / name).exists()]
    for name in (*_case_files(manifest), *about_all):
        if name not in ours:
            yield manifest.folder / name


def _case_files(manifest: Manifest) -> list[str]:
    """Names below the folder of what nnU-Net takes for files of a case."""
    folders = [manifest.folder / name for name in _FOLDERS]
    files = [path for folder in folders if folder.is_dir() for path in folder.iterdir()]
    return sorted(f"{path.parent.name}/{path.name}" for path in files if path.name.endswith(ENDING))
