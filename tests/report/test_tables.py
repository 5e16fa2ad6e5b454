import io
import re
from html.parser import HTMLParser

import dask.array
import numpy as np
import pandas as pd
import pytest
import scipy.stats
import xarray as xr

import npczarr
from npczarr.errors import ParameterError
from npczarr.report import figures, tables
from npczarr.report import format as written
from npczarr.report.published import (
    CLINICAL_STAGES,
    MRI_PARAMETERS,
    SCANNERS,
    TUMOR_SIZE,
    is_published_cohort,
    published_doubts,
    with_published,
)
from tests.report.plans import planned_dataset, planned_morphology

SEQUENCES = ["T1WI", "T2WI", "CE-T1WI"]


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """A full synthetic cohort's tables, with an image that cannot be read."""
    dataset = planned_dataset(tmp_path_factory.mktemp("full"))
    voxels = dask.array.zeros((277, 3, 2, 4, 4), chunks=(1, 1, 2, 4, 4)).map_blocks(_refuse, dtype="f4")
    return dataset.assign(image=(("patient", "sequence", "z", "y", "x"), voxels))


def _refuse(block):
    raise AssertionError("a table read voxels")


@pytest.fixture
def some(tmp_path):
    """Six patients, free to be changed."""
    return planned_dataset(tmp_path, patients=6)


def test_table_1_is_the_papers(full):
    table = tables.mri_parameters(full)
    assert [*table.columns] == ["T1WI", "T1WI, paper", "T2WI", "T2WI, paper", "CE-T1WI", "CE-T1WI, paper", "n"]
    assert table.attrs["different"] == []
    assert "All 24 cells are as in the paper." in table.attrs["notes"]
    assert (table["n"] == "277").all()
    # the measured values stand below those of the header, without a figure of the paper's
    assert table.index[2:4].tolist() == ["Spacing between slices, mm (header)", "Spacing between slices, mm (measured)"]
    assert table.loc["Spacing between slices, mm (measured)", "T1WI"] == "5.5 (4.5-7.0)"
    assert table.loc["Spacing between slices, mm (measured)", "T1WI, paper"] == ""
    wrong = 3 * 93  # the scanners whose header holds the gap
    assert any(f"{wrong} of 831 scans differ by more than 1 %" in note for note in table.attrs["notes"])


def test_table_1_against_pandas(some):
    table = tables.mri_parameters(some)
    assert [*table.columns] == [*SEQUENCES, "n"]
    frame = some[["echo_time", "flip_angle"]].reset_coords().to_dataframe()
    for name, row in (("echo_time", "Echo time, ms"), ("flip_angle", "Flip angle, degrees")):
        found = frame[name].groupby("sequence").agg(["median", "min", "max"])
        for sequence, summary in found.iterrows():
            numbers = [
                float(number) for number in re.fullmatch(r"(.+) \((.+)-(.+)\)", table.loc[row, sequence]).groups()
            ]
            np.testing.assert_allclose(numbers, summary, atol=0.0051)


def test_the_papers_figures_are_written_as_it_prints_them():
    assert MRI_PARAMETERS["Echo time, ms"][1] == "80.0 (66.46-123.09)"
    assert MRI_PARAMETERS["Field of view, mm (header)"][1] == "225x225 (220-250)"
    assert TUMOR_SIZE["Max diameter, cm"][2] == "4.70 (2.00-10.15)"
    assert CLINICAL_STAGES["Age, years", "mean (SD)"][4] == "58.0 (9.86)"
    assert CLINICAL_STAGES["Age, years", "median [min, max]"][1] == "48.5 [27, 80]"
    assert CLINICAL_STAGES["N stage", "N3"] == (0, 0, 0, 30, 8)


def test_rows_and_columns_that_differ_are_both_shown(some):
    some["shape"][:, 0] = [20, 400, 512]
    some["spacing"][:, 0] = [5.5, 0.5, 0.4]
    column = tables.mri_parameters(some)["T1WI"]
    assert column["Matrix size"] == "400x512 (400-512)"
    assert column["Pixel spacing, mm"] == "0.5x0.4 (0.4-0.5)"
    assert column["Field of view, mm (measured)"] == "200x205 (200-205)"


def test_what_headers_lack_and_scans_that_are_absent_are_said(some):
    some["echo_time"][2:4, 1] = np.nan
    some["shape"][:, 2] = 0
    some["shape"][0, 0] = 0
    table = tables.mri_parameters(some.drop_vars("flip_angle"))
    assert table["n"][["Echo time, ms", "Slice thickness, mm", "Flip angle, degrees"]].tolist() == [
        "5 / 4 / 0",
        "5 / 6 / 0",
        "0",
    ]
    assert (table["CE-T1WI"] == "").all()
    assert table.loc["Flip angle, degrees"].tolist() == ["", "", "", "0"]
    notes = table.attrs["notes"]
    assert "CE-T1WI: no scan in the store." in notes
    assert "Echo time, ms: 2 of 11 scans have no value." in notes
    assert "Flip angle, degrees: 11 of 11 scans have no value." in notes


def test_table_2_in_cm_and_without_empty_masks(full, some):
    table = tables.tumor_size(full, planned_morphology(full))
    assert [row for row, _ in table.attrs["different"]].count("Volume, cm³") == 0
    assert len(table.attrs["different"]) == 9  # spheres have another surface, diameter and regularity

    morphology = planned_morphology(some)
    for name in ("volume", "surface_area", "max_diameter", "surface_regularity"):
        morphology[name][0, 0] = morphology[name][1, 1] = np.nan
    morphology["voxel_count"][0, 0] = 0
    morphology["voxel_count"][1, 1] = np.nan
    table = tables.tumor_size(some, morphology)
    assert [*table.columns] == [*SEQUENCES, "n"]
    assert table["n"].unique().tolist() == ["5 / 5 / 6"]
    frame = morphology.to_dataframe()
    for name, row, unit in (("volume", "Volume, cm³", 1e3), ("surface_area", "Surface area, cm²", 1e2)):
        for sequence, found in (frame[name] / unit).groupby("sequence"):
            assert table.loc[row, sequence] == f"{found.median():.2f} ({found.min():.2f}-{found.max():.2f})"
    assert table.attrs["notes"] == [
        "T1WI: 1 mask holds no tumor; nothing of it counts here.",
        "T2WI: 1 scan has no mask that was measured.",
    ]
    nothing = tables.tumor_size(some, None)
    assert nothing.empty
    assert "npczarr morphology STORE" in nothing.attrs["notes"][0]
    partial = tables.tumor_size(some, morphology[["volume"]])
    assert partial.index.tolist() == ["Volume, cm³"]
    assert "Surface regularity: not in the store's `morphology`; measure again." in partial.attrs["notes"]


def test_table_3_is_the_papers(full):
    table = tables.scanners(full)
    assert table["patients"].to_dict() == {name: count for name, (count,) in SCANNERS.items()}
    assert (table["scans"] == 3 * table["patients"]).all()
    assert table.attrs["different"] == []
    assert table.loc["Achieva", ["manufacturer", "field strength, T"]].tolist() == ["Philips Medical Systems", "3"]


def test_a_patient_of_several_scanners_counts_for_each_and_is_named(some):
    some["scanner_model"][0] = ["Achieva", "Other", "Achieva"]
    some["scanner_model"][1:] = "Achieva"
    some["scanner_model"][2, 1] = ""
    some["shape"][5] = 0
    table = tables.scanners(some)
    assert table["patients"].to_dict() == {"Achieva": 5, "Other": 1, "not stated": 1}
    assert table["scans"].to_dict() == {"Achieva": 13, "Other": 1, "not stated": 1}
    several, absent = table.attrs["notes"]
    assert "2 patients were scanned on several scanners" in several
    assert "(001: Achieva, Other; 003: Achieva, not stated)" in several
    assert absent == "1 patient has no scan in the store."
    assert "headers of DICOM series" in tables.scanners(some.drop_vars("scanner_model")).attrs["notes"][0]


def test_the_papers_figures_are_for_the_papers_cohort_only(full):
    assert is_published_cohort(full)
    for other in (full.isel(patient=slice(276)), full.isel(sequence=[0, 1]), full.isel(patient=0)):
        assert not is_published_cohort(other)
        assert [column for column in tables.mri_parameters(other) if "paper" in column] == []
    renamed = full.assign_coords(sequence=["T1WI", "T2WI", "DWI"])
    assert not is_published_cohort(renamed)


def test_a_cell_that_differs_is_marked_and_rows_of_the_paper_alone_are_shown(full):
    altered = full.copy(deep=True)
    altered["echo_time"][:, 1] = 81.0
    altered["scanner_model"].values[altered["scanner_model"].values == "SIGNA EXCITE"] = "Achieva"
    table = tables.mri_parameters(altered)
    assert table.attrs["different"] == [("Echo time, ms", "T2WI")]
    assert table.loc["Echo time, ms", "T2WI, paper"] == "80.0 (66.46-123.09) ≠"
    assert any(note.startswith("1 of 24 cells differ") for note in table.attrs["notes"])
    found = tables.scanners(altered)
    assert found.loc["SIGNA EXCITE", ["patients", "patients, paper"]].tolist() == [0, "1 ≠"]
    assert found.attrs["different"] == [("Achieva", "patients"), ("SIGNA EXCITE", "patients")]
    assert published_doubts("scanners") == published_doubts("mri_parameters") == []
    with pytest.raises(ParameterError, match="no table 'stages'; there are mri_parameters"):
        with_published(table, "stages", full)


@pytest.fixture
def raters():
    rng = np.random.default_rng(0)
    dims = ("patient", "sequence")
    names = ("dice", "jaccard", "hd", "hd95", "assd", "surface_dice")
    result = xr.Dataset(
        {name: (dims, rng.beta(20, 3, (30, 2))) for name in names}
        | {name: (dims, np.full((30, 2), 50.0)) for name in ("voxels_a", "voxels_b")},
        coords={"patient": [f"{i:03d}" for i in range(30)], "sequence": ["T1WI", "T2WI"]},
    )
    result["dice"][0, 0], result["hd"][0, 0] = np.nan, np.nan
    result["voxels_a"][0, 0] = result["voxels_b"][0, 0] = 0
    result["hd"][3, 1] = np.inf
    for name in (*names, "voxels_a", "voxels_b"):
        result[name][1, 0] = np.nan
    return result


def test_agreement_against_numpy_and_scipy(raters):
    table = tables.agreement(raters)
    assert table.index[:3].tolist() == [("dice", "T1WI"), ("dice", "T2WI"), ("jaccard", "T1WI")]
    assert ("hd95, mm", "T2WI") in table.index
    row = table.loc[("dice", "T1WI")]
    assert row[["n", "both empty", "not compared"]].tolist() == [28, 1, 1]
    values = raters["dice"].values[2:, 0]
    for name, statistic in (("mean [95 %]", np.mean), ("median [95 %]", np.median)):
        center, low, high = (float(number) for number in re.findall(r"[\d.]+", row[name].replace("95 %", "")))
        assert center == round(statistic(values), 3)
        expected = scipy.stats.bootstrap(
            (values,), statistic, method="percentile", n_resamples=20000, rng=np.random.default_rng(1)
        ).confidence_interval
        # two draws of resamples: apart by less than a tenth of the interval
        np.testing.assert_allclose((low, high), expected, atol=0.1 * (expected.high - expected.low))
    assert row["min-max"] == f"{values.min():.3f}-{values.max():.3f}"
    assert table.loc[("hd, mm", "T2WI"), "mean [95 %]"].startswith("inf [")
    assert len(table.attrs["notes"]) == 2


def test_fewer_than_five_patients_have_no_interval(raters):
    table = tables.agreement(raters.isel(patient=slice(4, 8)))
    assert not table["mean [95 %]"].str.contains("[", regex=False).any()
    assert table.loc[("dice", "T1WI"), "mean [95 %]"] == f"{float(raters['dice'][4:8, 0].mean()):.3f}"
    assert table.attrs["notes"] == ["There is no interval below 5 patients."]


def test_surface_dice_is_named_with_its_tolerance(raters):
    told = raters.assign_attrs(tolerance_mm=1.5)
    table = tables.agreement(told)
    assert ("surface dice at 1.5 mm", "T1WI") in table.index
    assert "surface dice at 1.5 mm,T1WI," in written.to_csv(table)
    assert "Surface Dice: share of both surfaces that lies within 1.5 mm of the other." in table.attrs["notes"]
    assert figures.agreement_boxes(told, "surface_dice").axes[0].get_ylabel() == "surface dice at 1.5 mm"


def test_small_numbers_keep_two_digits(raters, full):
    table = tables.agreement(raters.assign(assd=raters["assd"] / 10))
    middle = float(raters["assd"][2:, 0].mean()) / 10
    assert table.loc[("assd, mm", "T1WI"), "mean [95 %]"].startswith(f"{middle:.2g} [0.0")
    part = full.isel(patient=[0, 1])
    nodes = planned_morphology(full).isel(patient=[0, 1])
    nodes["volume"][:] = np.array([[0.8], [4.0]])
    assert tables.tumor_size(part, nodes).loc["Volume, cm³", "T1WI"] == "0.0024 (0.00080-0.0040)"


def test_agreement_of_several_pairs_of_one_sequence_and_of_none(raters):
    pairs = xr.concat([raters, raters], dim=xr.IndexVariable("pair", ["a b", "a c"]), join="outer")
    table = tables.agreement(pairs)
    assert table.index.names == ["metric", "sequence", "pair"]
    assert len(table) == 2 * len(tables.agreement(raters))
    assert tables.agreement(raters.isel(sequence=0))["n"].tolist()[0] == 28
    assert tables.agreement(raters.isel(sequence=1, patient=0))["n"].tolist()[0] == 1
    assert "npczarr agreement STORE" in tables.agreement(None).attrs["notes"][0]


@pytest.mark.slow
@pytest.mark.parametrize("selection", [{"patient": 0}, {"sequence": 1}, {"patient": 2, "sequence": 0}, {"patient": []}])
def test_any_selection_gives_every_table(full, selection):
    part = full.isel(selection)
    one = {dim: [index] if isinstance(index, int) else index for dim, index in selection.items()}
    morphology = planned_morphology(full).isel(selection)
    for table in (tables.mri_parameters, tables.scanners, tables.clinical_stages, tables.clinical_columns):
        pd.testing.assert_frame_equal(table(part), table(full.isel(one)))
        assert not table(part).empty or table(part).attrs["notes"]
    assert not tables.tumor_size(part, morphology).empty


def test_a_dataset_without_any_table_gives_empty_tables_that_say_so():
    bare = xr.Dataset(coords={"patient": ["1", "2"], "sequence": ["T1WI"]})
    for table in (tables.mri_parameters, tables.scanners, tables.clinical_stages, tables.clinical_columns):
        assert table(bare).empty
        assert table(bare).attrs["notes"]


@pytest.mark.slow
def test_on_the_store_of_real_scans(real_data, tmp_path):
    """Five patients of one sequence, without clinical tables, and two whose series say little of themselves."""
    source = real_data / "real_cohort" / "primary_data"
    npczarr.convert(source, tmp_path / "real.zarr", workers=0)
    dataset = npczarr.open(tmp_path / "real.zarr")
    table = tables.mri_parameters(dataset)
    assert table.loc["Matrix size", "T1WI"] != ""
    assert table.loc["Matrix size", "n"] in ("5", "5 / 0 / 0")
    models = tables.scanners(dataset)
    assert models["patients"].sum() == 5
    assert {"Signa HDxt", "SIGNA EXCITE", "Achieva"} & {*models.index}
    assert tables.clinical_stages(dataset).attrs["notes"][0].startswith("Not in the store: clinical stage, Sex")
    measured = tables.tumor_size(dataset, npczarr.morphology(dataset).compute())
    assert measured.loc["Volume, cm³", "T1WI"] != ""


HOSTILE = [
    "<script>alert(1)</script>",
    "a|b",
    r"100 % & $x_1$ #{~^}\end",
    "*bold* `code`",
    "[x](javascript:y)",
    "é ≠ ³",
]


@pytest.fixture
def hostile():
    table = pd.DataFrame(
        {"<b>": [*HOSTILE], "long": ["x" * 300, "two\nlines", "", None, 3, 2.5]},
        index=pd.MultiIndex.from_tuples([(HOSTILE[i // 2], HOSTILE[i]) for i in range(6)], names=("g|h", "v&w")),
    )
    table.attrs = {"title": "A & B <i>", "notes": ["5 % <img src=x onerror=y>", "a_b"]}
    return table


class _Cells(HTMLParser):
    """Text of the cells, and the tags that are there."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.cells = set(), []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        if tag in ("td", "th", "li", "figcaption"):
            self.cells.append("")

    def handle_data(self, data):
        if self.cells:
            self.cells[-1] += data


def test_html_holds_text_and_nothing_else(hostile):
    page = _Cells(written.to_html(hostile))
    assert page.tags == {"figure", "figcaption", "table", "thead", "tbody", "tr", "th", "td", "ul", "li"}
    cells = [cell.strip() for cell in page.cells]
    assert {*HOSTILE, "x" * 300, "<b>", "A & B <i>", "5 % <img src=x onerror=y>"} <= {*cells}


def test_csv_comes_back(hostile):
    back = pd.read_csv(io.StringIO(written.to_csv(hostile)), index_col=[0, 1], keep_default_na=False)
    assert back.index.equals(hostile.index)
    assert back["<b>"].tolist() == HOSTILE
    assert back["long"].tolist() == ["x" * 300, "two\nlines", "", "", "3", "2.5"]


def test_markdown_keeps_its_columns_and_its_text(hostile):
    title, table, notes = written.to_markdown(hostile).rstrip("\n").split("\n\n")
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in table.splitlines()]
    assert {len(row) for row in rows} == {4}
    text = [[re.sub(r"\\([^A-Za-z0-9\s])", r"\1", cell.strip()) for cell in row] for row in rows]
    assert text[0] == ["g|h", "v&w", "<b>", "long"]
    assert [row[2] for row in text[2:]] == HOSTILE
    assert [row[0] for row in text[2:]] == [HOSTILE[0], "", HOSTILE[1], "", HOSTILE[2], ""], "a group is named once"
    assert "<" not in re.sub(r"\\<", "", table + title + notes)


def test_latex_has_no_character_with_a_meaning_left(hostile):
    text = written.to_latex(hostile)
    rows = [line for line in text.splitlines() if line.endswith(r" \\")]
    assert len(rows) == 1 + len(hostile)
    for row in rows:
        assert len(re.findall(r"(?<!\\)&", row)) == 3
        own = re.sub(r"\$(\\neq|\^3)\$|\\text\w+\{\}|\\[&%$#_{}]|\{[\[\]]\}", "", row.removesuffix(r" \\"))
        assert not set(own) & set("\\%$#_{}~^[]<>`≠³")
    assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}")
    assert r"\caption{A \& B \textless{}i\textgreater{}}" in text


def test_a_table_is_written_in_the_form_that_its_name_says(full, tmp_path):
    table = tables.scanners(full)
    for name, writer in (("t.md", "markdown"), ("t.csv", "csv"), ("t.tex", "latex"), ("t.HTML", "html")):
        written.write_table(table, tmp_path / name)
        assert (tmp_path / name).read_text(encoding="utf-8") == getattr(written, f"to_{writer}")(table)
    with pytest.raises(ParameterError, match=r"t\.xlsx: expected a name that ends in \.md, \.csv, \.tex, \.html"):
        written.write_table(table, tmp_path / "t.xlsx")
