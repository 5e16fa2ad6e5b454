"""The notebooks run from the first cell to the last, and their stored output is that of their code."""

from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))


def outputs(notebook):
    """What each cell shows, by kind; text as it is printed."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return [[(one.output_type, sorted(one.get("data", [])), one.get("text")) for one in cell.outputs] for cell in cells]


def shown_text(notebook):
    """The text of every output, without the pictures."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return [
        [one.get("text", "")] + [value for kind, value in one.get("data", {}).items() if kind.startswith("text/")]
        for cell in cells
        for one in cell.outputs
    ]


@pytest.fixture(scope="module", autouse=True)
def _there_are_notebooks():
    assert {path.stem for path in NOTEBOOKS} == {"first_look", "cohort_to_tables", "agreement_and_scoring"}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")  # of Jupyter's own packages
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_gives_the_output_that_is_stored(path, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(EXAMPLES.parent))
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    stored = nbformat.read(path, as_version=4)
    again = nbformat.from_dict(stored)
    for cell in again.cells:
        cell.pop("outputs", None)
        if cell.cell_type == "code":
            cell["outputs"] = []
    nbclient.NotebookClient(again, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert outputs(again) == outputs(nbformat.read(path, as_version=4))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_can_be_read_on_a_web_page(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert path.stat().st_size < 1_000_000
    shown = outputs(notebook)
    assert any("image/png" in data for cell in shown for _, data, _ in cell)
    assert not [kind for cell in shown for kind, _, _ in cell if kind == "error"]
    text = repr([cell.get("source") for cell in notebook.cells]) + repr(shown_text(notebook))
    for local in ("/tmp/", "/home/", "/root/", "Traceback"):
        assert local not in text
