import json
import os
import shutil
import subprocess
import sys

import ngff_zarr
import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
import tifffile
import zarr
from ome_zarr_models.v05 import Image as OmeImage
from ome_zarr_models.v05 import ImageLabel, Labels
from PIL import Image, ImageDraw, ImageFont

import npczarr as npc
from npczarr.errors import ParameterError
from npczarr.export.cohort import export_scans
from npczarr.export.png import _EDGES, _LETTER, draw, write
from npczarr.export.scan import ScanVoxels
from npczarr.model.geometry import Grid
from npczarr.model.slice_view import SliceView
from tests.export.conftest import stored

BAD = {("003", "T1WI"): "absent"}
LPS = np.diag([-1.0, -1.0, 1.0])


def statuses(found):
    return {(one.patient, one.sequence): one.status for one in found}


def corners(shape_xyz):
    return np.array([*np.ndindex(2, 2, 2)]) * (np.array(shape_xyz) - 1)


@pytest.mark.slow
@pytest.mark.parametrize("cohort_", ["store", "real_store"])
def test_a_nifti_corner_is_one_point_in_nibabel_simpleitk_and_the_store(request, cohort_, tmp_path):
    store = request.getfixturevalue(cohort_)
    found = export_scans(store, tmp_path / "out", format="nifti")
    seen = oblique = 0
    for one in found:
        assert one.status in ("written", "absent"), one
        for name in one.files:
            image, mask, row = stored(store, one.patient, one.sequence)
            path = tmp_path / "out" / name
            opened, itk = nibabel.load(path), sitk.ReadImage(str(path))
            header = opened.header
            assert (int(header["sform_code"]), int(header["qform_code"])) == (1, 1)
            assert header.get_xyzt_units()[0] == "mm"
            np.testing.assert_allclose(opened.get_sform(), opened.get_qform(), atol=1e-3)
            index = corners(opened.shape)
            points = index @ row["affine"].values[:3, :3].T + row["affine"].values[:3, 3]
            np.testing.assert_allclose(nibabel.affines.apply_affine(opened.affine, index) @ LPS, points, atol=1e-3)
            by_itk = [itk.TransformIndexToPhysicalPoint([int(i) for i in at]) for at in index]
            np.testing.assert_allclose(by_itk, points, atol=1e-3)
            expected = mask if "ROI-" in name else image
            raw = np.asarray(opened.dataobj.get_unscaled())
            assert raw.dtype == expected.dtype
            np.testing.assert_array_equal(raw.T, expected)
            seen += 1
            oblique += int((np.abs(points.max(0) - points.min(0)) > 0).all() and np.count_nonzero(row["affine"]) > 7)
    assert seen >= 5
    assert oblique or cohort_ == "real_store"


def test_statuses_say_what_each_scan_lacks(store, tmp_path):
    found = export_scans(store, tmp_path / "out", format="nifti")
    by_key = {(one.patient, one.sequence): one for one in found}
    assert statuses(found) == {key: BAD.get(key, "written") for key in by_key}
    assert len(by_key) == 9
    assert "no mask" in by_key["002", "T2WI"].message
    assert by_key["002", "T2WI"].files == ("002/T2WI.nii.gz",)
    assert "mask refused" in by_key["003", "T2WI"].message
    assert by_key["003", "T1WI"].files == ()


def test_an_exported_mask_scored_against_its_store_is_perfect(store, tmp_path):
    export_scans(store, tmp_path / "out", format="nifti")
    result = npc.score(npc.open(store), tmp_path / "out").compute()
    dice = result["dice"].sel(patient="001").values
    assert (dice == 1).all()
    assert np.isfinite(result["dice"].values).sum() == 6  # nine less three without a mask or images


@pytest.mark.slow
def test_tiff_slices_carry_one_window_and_give_values_back(store, tmp_path):
    for bits in (8, 16):
        out = tmp_path / str(bits)
        export_scans(store, out, format="tiff", bits=bits, patients=["001"])
        image, mask, row = stored(store, "001", "CE-T1WI")
        about = json.loads((out / "001/CE-T1WI.json").read_text())
        low, high = about["window"]
        assert (low, high) == (image.min(), image.max())
        for z in range(len(image)):
            with tifffile.TiffFile(out / f"001/CE-T1WI_{z + 1}.tif") as file:
                page = file.pages[0]
                back = low + page.asarray() * (high - low) / (2**bits - 1)
                assert page.dtype == f"uint{bits}"
                assert json.loads(page.description)["window"] == [low, high]
                (count, per), unit = page.tags["XResolution"].value, page.tags["ResolutionUnit"].value
                assert unit == tifffile.RESUNIT.CENTIMETER
                assert 10 * per / count == pytest.approx(float(row["spacing"][2]), rel=1e-6)
            assert np.abs(back - image[z]).max() <= (high - low) / (2**bits - 1) / 2 + 1e-9
            outline = tifffile.imread(out / f"001/CE-T1WI_{z + 1}_mask.tif")
            np.testing.assert_array_equal(outline, mask[z].astype(int) * (2**bits - 1))


@pytest.mark.slow
def test_tiff_masks_are_read_back_as_those_of_two_raters(store, tmp_path):
    for rater in ("a", "b"):
        export_scans(store, tmp_path / "raters" / rater, format="tiff", patients=["001"])
    npc.convert(tmp_path / "raters", tmp_path / "raters.zarr", workers=0)
    for sequence in ("T1WI", "T2WI", "CE-T1WI"):
        _, mask, _ = stored(store, "001", sequence)
        _, both, row = stored(tmp_path / "raters.zarr", "001", sequence)
        both = row["mask"].values[(slice(None), *(slice(0, n) for n in mask.shape))]
        assert len(both) == 2
        assert (both == mask).all()
    found = export_scans(tmp_path / "raters.zarr", tmp_path / "again", format="nifti")
    assert {one.files for one in found if one.sequence == "T1WI"} == {
        ("a/001/ROI-T1.nii.gz",),
        ("b/001/ROI-T1.nii.gz",),
    }
    refused = export_scans(tmp_path / "raters.zarr", tmp_path / "png", format="png")
    assert {one.status for one in refused} == {"failed"}


def test_size_gives_what_resampling_gives(store, tmp_path):
    export_scans(store, tmp_path / "n", format="nifti", size=40, patients=["001"])
    expected = npc.resample(npc.open(store).sel(patient=["001"]), shape=(None, 40, 40)).compute()
    scan = expected.npc.scan("001", "T1WI")
    image, mask = (nibabel.load(tmp_path / "n/001" / name) for name in ("T1WI.nii.gz", "ROI-T1.nii.gz"))
    np.testing.assert_array_equal(np.asarray(image.dataobj).T, scan.image)
    np.testing.assert_array_equal(np.asarray(mask.dataobj).T, scan.mask)
    export_scans(store, tmp_path / "t", format="tiff", size=40, patients=["001"], sequences=["T1WI"])
    assert tifffile.imread(tmp_path / "t/001/T1WI_1.tif").shape == (40, 40)


@pytest.mark.slow
def test_ome_zarr_is_valid_and_read_by_others(store, tmp_path):
    export_scans(store, tmp_path / "out", format="ome-zarr", patients=["001", "002"])
    image, mask, row = stored(store, "001", "T2WI")
    scan = npc.open(store).npc.scan("001", "T2WI")
    path = tmp_path / "out/001/T2WI.ome.zarr"
    group = zarr.open_group(path, mode="r")
    OmeImage.from_zarr(group)
    Labels.from_zarr(group["labels"])
    ImageLabel.from_zarr(group["labels/tumor"])
    read = ngff_zarr.from_ngff_zarr(str(path)).images[0]
    np.testing.assert_array_equal(np.asarray(read.data), image)
    assert tuple(read.dims) == ("z", "y", "x")
    assert set(read.axes_units.values()) == {"millimeter"}
    for i, axis in enumerate("zyx"):
        assert read.scale[axis] == pytest.approx(float(row["spacing"][i]))
        assert read.translation[axis] == pytest.approx(float(scan[axis][0]))
    label = ngff_zarr.from_ngff_zarr(str(path / "labels/tumor")).images[0]
    np.testing.assert_array_equal(np.asarray(label.data), mask)
    assert "labels" not in zarr.open_group(tmp_path / "out/002/T2WI.ome.zarr", mode="r")


@pytest.mark.slow
def test_png_shows_the_largest_slice_in_square_pixels(store, tmp_path):
    export_scans(store, tmp_path / "out", format="png", patients=["001"])
    _, mask, row = stored(store, "001", "T1WI")
    with Image.open(tmp_path / "out/001/T1WI.png") as picture:
        z = int(mask.sum((1, 2)).argmax())
        assert picture.text["slice"] == f"{z + 1} of {len(mask)}"
        width, height = picture.size
        _, y_mm, x_mm = row["spacing"].values
        assert width / height == pytest.approx(mask.shape[2] * x_mm / (mask.shape[1] * y_mm), rel=0.01)
        pixels = np.asarray(picture).astype(int)
    ys, xs = np.nonzero(pixels[..., 0] - pixels[..., 2] > 200)  # the outline
    rows, columns = np.nonzero(mask[z])
    for drawn, voxels, n, extent in ((ys, rows, mask.shape[1], height), (xs, columns, mask.shape[2], width)):
        scale = extent / n
        assert drawn.min() == pytest.approx(voxels.min() * scale, abs=scale)
        assert drawn.max() == pytest.approx((voxels.max() + 1) * scale, abs=scale)


def view_of(shape_zyx, affine):
    grid = Grid(shape_zyx, affine)
    return SliceView(grid.affine, grid.axis_positions_mm(), grid.spacing_zyx_mm)


def test_a_drawn_pixel_of_1_to_4_is_not_square():
    view = view_of((1, 10, 40), np.diag([1.0, 4.0, 3.0, 1.0]))
    assert draw(np.zeros((10, 40), np.uint8), None, view).size == (768, 768)


def letter_at(picture, where, letter):
    """Whether a letter, and no other side's, is what stands at an edge of a black picture."""
    across, down, anchor = _EDGES[where]
    shown = {}
    for other in "RLAPIS":
        drawn = Image.new("RGB", picture.size)
        place = across * (picture.width - 1), down * (picture.height - 1)
        ImageDraw.Draw(drawn).text(place, other, fill="white", font=ImageFont.load_default(_LETTER), anchor=anchor)
        box = drawn.getbbox()
        shown[other] = np.abs(np.asarray(picture.crop(box), int) - np.asarray(drawn.crop(box), int)).mean()
    return min(shown, key=shown.get) == letter and shown[letter] < 1


#: ImageOrientationPatient, and what stands at the left, the right, the top and the bottom of its picture.
ORIENTATIONS = [
    ((1, 0, 0, 0, 1, 0), "RLAP"),
    ((-1, 0, 0, 0, -1, 0), "RLAP"),
    ((1, 0, 0, 0, -1, 0), "RLAP"),
    ((0, 1, 0, 1, 0, 0), "RLAP"),
    ((0, 1, 0, 0, 0, -1), "APSI"),
    ((0, 0, 1, 0, -1, 0), "APSI"),
    ((1, 0, 0, 0, 0, -1), "RLSI"),
    ((0, 0, 1, -1, 0, 0), "RLSI"),
]


@pytest.mark.parametrize(("orientation", "sides"), ORIENTATIONS)
def test_png_is_upright_and_lettered_whatever_the_storage(tmp_path, orientation, sides):
    along_x, along_y = np.array(orientation, float).reshape(2, 3)
    shape, (y_mm, x_mm) = (3, 40, 60), (1.5, 0.5)
    affine = np.eye(4)
    affine[:3, :3] = np.stack([along_x * x_mm, along_y * y_mm, np.cross(along_x, along_y) * 4.0], axis=1)
    ends = dict(zip("LPSRAI", (*np.eye(3), *-np.eye(3)), strict=True))
    # bright where the patient's side is the one at the left and at the top, so at the upper left corner of the picture
    index = np.moveaxis(np.indices(shape)[::-1], 0, -1)
    points = (index - (np.array(shape[::-1]) - 1) / 2) @ affine[:3, :3].T
    image = np.where((points @ ends[sides[0]] > 6) & (points @ ends[sides[2]] > 6), 1000, 0).astype(np.int16)
    mask = np.zeros(shape, np.uint8)
    mask[1] = image[1] > 0
    scan = ScanVoxels("1", "T1", image, mask, Grid(shape, affine), np.ones(3), np.zeros(3), True)
    ((path,), notes) = write(scan, tmp_path, 8)
    assert notes == []
    with Image.open(path) as picture:
        assert picture.text["sides"] == "left {}, right {}, top {}, bottom {}".format(*sides)
        turned = abs(along_x @ ends[sides[0]]) < 0.5
        width_mm, height_mm = (60.0, 30.0) if turned else (30.0, 60.0)
        assert picture.size == (round(768 * width_mm / 60), round(768 * height_mm / 60))
        pixels = np.asarray(picture)
        red, blue = pixels[..., 0].astype(int), pixels[..., 2].astype(int)
    rows, columns = np.nonzero(red - blue > 200)  # the outline
    assert rows.max() < 0.5 * picture.height
    assert columns.max() < 0.5 * picture.width
    quarter = pixels[: picture.height // 8, : picture.width // 8]
    assert quarter[4:, 4:].mean() > 230
    rest = pixels[picture.height // 2 :, picture.width // 2 :]
    assert rest.mean() < 5
    for where, letter in zip(("left", "right", "top", "bottom"), sides, strict=True):
        assert letter_at(picture, where, letter)


def test_a_second_run_writes_only_what_is_not_there(store, tmp_path):
    out = tmp_path / "out"
    export_scans(store, out, format="png", patients=["001"])
    (out / "001/T2WI.png").unlink()
    found = export_scans(store, out, format="png", patients=["001"])
    assert [one.status for one in found] == ["kept", "written", "kept"]
    assert not [path for path in out.rglob("*") if path.name.startswith(".")]
    with pytest.raises(ParameterError, match="holds an export as"):
        export_scans(store, out, format="nifti")
    (tmp_path / "other").mkdir()
    (tmp_path / "other/mine.txt").write_text("precious")
    with pytest.raises(ParameterError, match="not empty"):
        export_scans(store, tmp_path / "other", format="png")
    for wrong in ({"format": "jpeg"}, {"format": "tiff", "bits": 12}, {"format": "png", "patients": ["nobody"]}):
        with pytest.raises(ParameterError):
            export_scans(store, tmp_path / "never", **wrong)
    assert not (tmp_path / "never").exists()


ASCII = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
WITHOUT_LETTERS = (
    "'Zoë' cannot name a file here: names of files are in ascii in this locale, which has no 'ë'; run again with "
    "LC_ALL=C.UTF-8 in the environment"
)


@pytest.mark.slow
def test_a_patient_whose_name_the_locale_cannot_write_costs_no_other(cohort, tmp_path):
    for before, now in (("001", "Zoë"), ("002", "002")):
        shutil.copytree(cohort / "primary_data/data/MRI-Segments" / before, tmp_path / "in" / now)
    npc.convert(tmp_path / "in", tmp_path / "s.zarr", workers=0)
    code = (
        "import json, sys\nfrom npczarr.export.cohort import export_scans\n"
        "found = export_scans(*sys.argv[1:], format='nifti', sequences=['T1WI'], workers=0)\n"
        "print(json.dumps([(one.patient, one.status, one.message) for one in found]))\n"
    )
    command = [sys.executable, "-c", code, tmp_path / "s.zarr", tmp_path / "out"]

    def run(**environment):
        done = subprocess.run(command, env=ASCII | environment, capture_output=True, check=True, text=True)
        return {patient: (status, message) for patient, status, message in json.loads(done.stdout)}

    failed = "failed", WITHOUT_LETTERS
    assert run() == {"002": ("written", ""), "Zoë": failed}
    assert run(LC_ALL="C.UTF-8") == {"002": ("kept", ""), "Zoë": ("written", "")}
    assert run() == {"002": ("kept", ""), "Zoë": failed}
    assert (tmp_path / "out/Zoë/T1WI.nii.gz").exists()
