"""Convert a cohort that is laid out otherwise, as own_layout.toml describes it.

Usage: python own_layout.py [SOURCE STORE [TOML]]; without a source, a small synthetic one is made.
"""

import shutil
import sys
import tempfile
from pathlib import Path

import npczarr as npc

TOML = Path(__file__).with_suffix(".toml")


def main(source: Path, store: Path, toml: Path) -> None:
    result = npc.convert(source, store, config=toml)
    print(result.status.to_pandas())
    ds = npc.open(store)
    print(f"age in the store: {', '.join(f'{age:g}' for age in ds.age.values)}")


def synthetic(folder: Path) -> Path:
    """Lay out a synthetic cohort as cases/K01/t1, cases/K01/t1_tumor.nii and patients.csv."""
    published, own = folder / "published", folder / "own"
    npc.make_cohort(published, patients=2, workers=0, reliability=False)
    for patient in sorted((published / "primary_data/data/MRI-Segments").iterdir()):
        case = own / "cases" / f"K{patient.name[1:]}"
        for ours, theirs, mask in (("t1", "T1WI", "T1"), ("t1gd", "CE-T1WI", "CE-T1")):
            shutil.copytree(patient / theirs, case / ours)
            shutil.copy(patient / f"ROI-{mask}.nii", case / f"{ours}_tumor.nii")
    (own / "patients.csv").write_text("Case;Alter\nK01;51\nK02;48\n", encoding="utf-8")
    return own


if __name__ == "__main__":
    if len(sys.argv) > 2:
        main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]) if len(sys.argv) > 3 else TOML)
    else:
        with tempfile.TemporaryDirectory() as folder:
            main(synthetic(Path(folder)), Path(folder) / "own.zarr", TOML)
