"""A cleaned copy is laid out as its source: it converts by the same configuration, and no path in it tells anybody."""

import gzip
import re
import zlib

import nibabel
import pytest
from typer.testing import CliRunner

import npczarr as npc
from npczarr.cli.app import app
from npczarr.errors import ParameterError, SourceError
from npczarr.model.cohort import File
from npczarr.privacy.audit import audit
from npczarr.privacy.deidentify import deidentify
from npczarr.privacy.names import Names, plan
from npczarr.privacy.places import BidsPlaces, PatternPlaces
from npczarr.privacy.record import Record
from npczarr.sources.config import SequenceRule, SourceConfig
from tests.builders import nifti_image, noise
from tests.sources.test_layouts import EXPECTED, GRID, LAYOUTS, mask, series

PEOPLE = ("MuellerHans", "SchmidtEva")
DATES = ("2019-03-04", "2020-05-06", "2021-07-08")
LEAKS = re.compile("|".join((*PEOPLE, *DATES, *(date.replace("-", "") for date in DATES))), re.IGNORECASE)
NIFTI = (LAYOUTS / "nifti.toml").read_text() + '[sequences]\nT1WI = { folder = "t1" }\nT2WI = { folder = "t2" }\n'
BY_HEADERS = '[sequences]\nT1WI = { where = { EchoTime = ">0" } }\n'


def image(root, *paths):
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        voxels = noise(GRID, seed=zlib.crc32(path.encode()))
        nibabel.save(nifti_image(voxels, GRID, dtype="int16"), root / path)


def every_visit():
    """Persons and dates, one of which is the second visit of one and the first of the other; and a number."""
    return [(person, date, i * 2 + j) for i, person in enumerate(PEOPLE) for j, date in enumerate(DATES[i : i + 2])]


def bids(root):
    for person, date, _ in every_visit():
        raw = f"sub-{person}/ses-{date.replace('-', '')}/anat/sub-{person}_ses-{date.replace('-', '')}_"
        image(root, f"{raw}acq-{person}_T1w.nii.gz", f"{raw}ce-gd_T1w.nii.gz", f"{raw}FLAIR.nii.gz")
        mask(root, f"derivatives/{person}/{raw}space-T1w_desc-tumor_mask.nii.gz".replace("space-T1w", "ce-gd"))
    lines = (f"sub-{person}\t{50 + i}\n" for i, person in enumerate(PEOPLE))
    (root / "participants.tsv").write_text("participant_id\tage\n" + "".join(lines))


def nifti(root):
    for person in PEOPLE:
        image(root, f"{person}/{person}_t1.nii.gz", f"{person}/{person}_t2.nii.gz")
        mask(root, f"{person}/{person}_seg.nii.gz")


def nnunet(root, channels=("_0000", "_0001")):
    for person in PEOPLE:
        image(root, *(f"imagesTr/{person}{channel}.nii.gz" for channel in channels))
        mask(root, f"labelsTr/{person}.nii.gz")


def visits_in_names(form):
    def make(root):
        for person, date, _ in every_visit():
            image(root, form.format(person, date, "t1"), form.format(person, date, "t2"))
            mask(root, form.format(person, date, "seg"))

    return make


def visits(root):
    for person, date, i in every_visit():
        series(root, f"{person}/{date}/T1WI", f"1.2{'1' * i}", PatientID=person)
        mask(root, f"{person}/{date}/ROI-T1.nii")
    (root / "clinical.csv").write_text("ID,visit,Age\n" + "".join(f"{p},{d},{i}\n" for p, d, i in every_visit()))


def below(form, visits=4):
    """Make series whose headers say whose they are."""

    def make(root):
        for person, date, i in every_visit()[:: 4 // visits]:
            fields = {"PatientID": person, "ContrastBolusAgent": ""}
            series(root, form.format(person, date, i), f"1.2{'1' * i}", f"{i}{{}}", **fields)

    return make


def renamed(make):
    def make_and_rename(root):
        make(root)
        for path in sorted(root.glob("00[12]")):
            path.rename(root / PEOPLE[int(path.name) - 1])
        for table in root.glob("*.csv"):
            text = table.read_text(encoding="utf-8")
            table.write_text(re.sub(r"(?m)^(\d);", lambda m: f"{PEOPLE[int(m[1]) - 1]};", text), encoding="utf-8")

    return make_and_rename


def one_folder(root):
    below(".", 2)(root)
    mask(root, *(f"{person}_ROI-T1WI.nii" for person in PEOPLE))


def of_layout(name):
    return (LAYOUTS / f"{name}.toml").read_text()


def patterns(images, masks=None, sequences='[sequences]\nT1WI = { folder = "t1" }\nT2WI = { folder = "t2" }\n'):
    return f'[layout]\nimages = "{images}"\n' + (f'masks = "{masks}"\n' if masks else "") + sequences


#: Maker of a cohort, configuration, and tables to be copied.
CASES = {
    "bids": (bids, of_layout("bids"), ["participants.tsv"]),
    "nifti": (nifti, NIFTI, []),
    "one_folder": (
        one_folder,
        of_layout("one_folder") + 'masks = "{patient}_ROI-{mask}.nii"\n' + BY_HEADERS,
        [],
    ),
    "pacs": (below("{0}/DICOM/{2}", 2), of_layout("pacs").rpartition("[sequences]")[0] + BY_HEADERS, []),
    "visits": (visits, of_layout("visits"), ["clinical.csv"]),
    "words": (renamed(EXPECTED["words"][0]), of_layout("words"), ["pasienter.csv"]),
    **{name: (renamed(EXPECTED[name][0]), of_layout(name), []) for name in ("labels", "rtstruct", "seg", "raters")},
    "scouted nnU-Net": (nnunet, "", []),
    "scouted Decathlon": (lambda root: nnunet(root, [""]), "", []),
    "visits in names of files": (
        visits_in_names("{0}/{1}_{2}.nii.gz"),
        patterns("{patient}/{session}_{sequence}.nii.gz", "{patient}/{session}_seg.nii.gz"),
        [],
    ),
    "hyphens": (
        visits_in_names("all/{1}/{0}-{2}.nii.gz"),
        patterns("{session}/{patient}-{sequence}.nii.gz", "{session}/{patient}-seg.nii.gz"),
        [],
    ),
    "globs": (
        visits_in_names("{0}/{1}/{0}_{2}.nii.gz"),
        patterns("{patient}/{session}/{sequence}.nii.gz", "{patient}/{session}/*_seg.nii*").replace(
            'folder = "', 'folder = "*'
        ),
        [],
    ),
    "visits of headers": (below("{0}/{1}/{2}"), patterns("{patient}/{session}/**", None, BY_HEADERS), []),
    "below an export": (below("export/{0}/{1}/{2}", 2), patterns("{patient}/**", None, BY_HEADERS), []),
}


def scans(source, store, config):
    """Convert, and list the scans of each subject: visit by visit, what is stored of them."""
    convert = npc.convert(source, store, config=config, workers=0)
    ds = npc.open(store)
    subjects = {}
    for patient in ds["patient"].values:
        rows = subjects.setdefault(str(patient).partition("_ses-")[0], [])
        for sequence in ds["sequence"].values:
            one = ds.sel(patient=patient, sequence=sequence)
            told = [
                str(one[name].values.tolist())
                for name in ("status", "image_digest", "mask_status", "mask_digest")
                if name in one
            ]
            ages = [float(one["age"])] if "age" in one else []
            rows.append((str(sequence), *told, *ages))
    return sorted(sorted(rows) for rows in subjects.values()), convert["message"].values.tolist()


def assert_tells_nobody(folder):
    for path in (one for one in folder.rglob("*") if one.is_file()):
        assert not LEAKS.search(str(path.relative_to(folder)))
        content = path.read_bytes()
        content = gzip.decompress(content) if path.suffix == ".gz" else content
        assert not LEAKS.search(content.decode("latin-1")), path
    assert audit(folder, workers=0).clean


def test_every_layout_is_shown_here():
    assert {path.stem for path in LAYOUTS.glob("*.toml")} <= set(CASES)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_a_copy_converts_as_its_source_and_tells_nobody(name, tmp_path):
    make, toml, tables = CASES[name]
    source, out, config = tmp_path / "source", tmp_path / "out", tmp_path / "layout.toml"
    source.mkdir()
    make(source)
    config.write_text(toml or npc.scout(source).toml, encoding="utf-8")
    done = deidentify(source, out, config=config, tables=tables, workers=0)
    assert (done.failed, [path for path in done.not_copied if not path.endswith("FLAIR.nii.gz")]) == ({}, [])
    assert_tells_nobody(out)
    before, _ = scans(source, tmp_path / "before.zarr", config)
    after, messages = scans(out, tmp_path / "after.zarr", config)
    assert after == before, messages


@pytest.mark.parametrize(
    ("places", "path", "target"),
    [
        (("imagesTr/{patient}_{sequence}.nii.gz",), "imagesTr/Doe_T1.nii.gz", "imagesTr/patient-001_T1.nii.gz"),
        (("{patient}-{session}_{sequence}*.nii",), "Doe-20190304_T1_x.nii", "patient001-visit001_T100001.nii"),
        (("{patient}/{rater}/*",), "Doe/Dr Miller/x.dcm", "patient-001/rater-001/00001.dcm"),
        (
            (),
            "derivatives/Miller/sub-Doe/anat/sub-Doe_acq-Miller_desc-tumor_run-02_mask.nii.gz",
            "derivatives/folder-001/sub-patient001/anat/sub-patient001_acq-x001_desc-tumor_run-02_mask.nii.gz",
        ),
        ((), "sub-01/ses-2/anat/sub-01_ses-2_ce-axGd_T1w.nii", "sub-01/ses-2/anat/sub-01_ses-2_ce-axGd_T1w.nii"),
        ((), "sub-Doe/anat/sub-Doe_acq-MillerPost_T1w.nii", ""),  # it may be another contrast without that word
        ((), "Miller/2019-03-04.csv", "folder-001/00001.csv"),
        ((), "Miller/participants.tsv", "folder-001/participants.tsv"),
    ],
)
def test_names_of_files_tell_nobody_and_keep_what_the_layout_reads(places, path, target):
    config = SourceConfig(images=places, masks=(), structures=(), sequences=(SequenceRule("T1", "T1", "T1"),))
    reader = PatternPlaces(config) if places else BidsPlaces(SourceConfig())
    names = Names(config, strict=True, record=Record(b"a secret of many bytes"), places=reader)
    copies, _ = plan([File(path, 0, "")], [path] if path.endswith("sv") else [], names)
    assert [copy.target for copy in copies] == [target] * bool(target)
    assert list(names.unsafe) == [path] * (not target)


def test_what_cannot_be_called_safely_is_not_copied_and_the_exit_code_says_so(tmp_path):
    image(tmp_path / "source", "Doe/x_t1_ax.nii.gz", "Doe/t1.nii.gz")
    toml = patterns(
        "{patient}/{sequence}.nii.gz", None, '[sequences]\nT1WI = { folder = "*t1*" }\nA = { folder = "*_a*" }\n'
    )
    (tmp_path / "layout.toml").write_text(toml)
    options = ["--config", str(tmp_path / "layout.toml"), "--workers", "0"]
    printed = CliRunner().invoke(app, ["deidentify", str(tmp_path / "source"), str(tmp_path / "out"), *options])
    assert printed.exit_code == 1
    assert "failed Doe/x_t1_ax.nii.gz: cannot be called so that its name tells nobody" in " ".join(
        printed.output.split()
    )
    assert [str(one.relative_to(tmp_path / "out")) for one in (tmp_path / "out").rglob("*.gz")] == [
        "patient-001/t1.nii.gz"
    ]


def test_a_patient_in_two_places_is_not_made_two():
    files = [File(f"{above}/Doe/T1WI/1.dcm", 0, "") for above in "AB"]
    names = Names(SourceConfig(), strict=True, record=Record(b"a secret of many bytes"))
    assert plan(files, (), names) == ([], {})
    assert [reason.partition(":")[0] for reason in names.unsafe.values()] == ["its patient is in two places"] * 2


@pytest.mark.parametrize(
    ("make", "toml", "said"),
    [
        (nnunet, None, r"names of files, not folders, seem to tell the patients .*npczarr scout"),
        (below(".", 2), None, "holds images of 2 patients by their PatientID"),
        (below(".", 2), '[layout]\npatient = "AccessionNumber"\n', "expected one of PatientID and PatientName"),
    ],
)
def test_patients_that_nothing_tells_apart_are_refused(make, toml, said, tmp_path):
    (tmp_path / "source").mkdir()
    make(tmp_path / "source")
    config = tmp_path / "layout.toml" if toml else None
    if config:
        config.write_text(toml)
    with pytest.raises((SourceError, ParameterError), match=said):
        deidentify(tmp_path / "source", tmp_path / "out", config=config, workers=0)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["pacs", ""])
def test_headers_prove_which_folder_is_the_patients(name, tmp_path):
    (tmp_path / "source").mkdir()
    below("export/{0}/{1}/{2}")(tmp_path / "source")
    config = LAYOUTS / f"{name}.toml" if name else None
    done = deidentify(tmp_path / "source", tmp_path / "out", config=config, workers=0)
    assert {one.name for one in (tmp_path / "out/folder-001").iterdir()} == {"patient-001", "patient-002"}
    assert audit(tmp_path / "out", workers=0).clean
    assert ["SeriesDescription" in remark for remark in done.remarks] == [True] * bool(name)  # its rules ask for it
