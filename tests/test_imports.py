"""The import law of npczarr/README.md, read off the source: imports flow one way, and each library has its room."""

import ast
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import npczarr

PACKAGE = Path(npczarr.__file__).parent
FLOORS = (
    {"errors", "ctrl_c", "freed_memory"},
    {"model", "outputs", "runner"},
    {"sources", "store", "kernels", "phantom"},
    {"graphs", "engine", "report", "export", "privacy", "training", "viewer"},
    {"accessor"},
    {"cli"},
    {"__main__"},
)
FLOOR = {room: level for level, rooms in enumerate(FLOORS) for room in rooms}
ROOMS_OF = {
    "pydicom": {"sources", "phantom", "privacy", "export"},
    "nibabel": {"sources", "phantom", "privacy", "export"},
    "zarr": {"store", "graphs"},
    "dask": {"graphs", "runner"},  # the settings of distributed are those of Dask
    "distributed": {"runner"},
    "numba": {"kernels"},
    "pyarrow": {"store"},
}
ALLOWED_IN_MODEL = {"numpy", "npczarr"}


def modules() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[str]:
    """Dotted names that a module imports anywhere, also inside functions; relative ones as absolute."""
    package = ("npczarr", *path.relative_to(PACKAGE).parent.parts)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) + "." if node.level else ""
            origin = (base + (node.module or "")).rstrip(".")
            if origin == "npczarr":
                yield from (f"npczarr.{alias.name}" for alias in node.names)
            else:
                yield origin


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_module_imports_only_what_its_room_may(path):
    here = room(path)
    assert here in FLOOR, f"room {here} is not in the design"
    for name in imports(path):
        top, *rest = name.split(".")
        if top == "npczarr":
            if here in ("cli", "__main__") and (not rest or rest[0] not in FLOOR):
                continue  # the command line stands outside: it may use the public names
            assert rest, f"{here} imports the root package"
            assert rest[0] in FLOOR, f"{here} imports {name} from the root package"
            assert rest[0] == here or FLOOR[rest[0]] < FLOOR[here], f"{here} imports {rest[0]}"
        assert here in ROOMS_OF.get(top, {here}), f"{here} imports {top}"


def test_model_knows_numpy_and_the_standard_library_only():
    for path in modules():
        if room(path) == "model":
            tops = {name.split(".")[0] for name in imports(path)}
            assert tops <= ALLOWED_IN_MODEL | set(sys.stdlib_module_names), path


def test_the_walk_sees_relative_and_nested_imports(tmp_path, monkeypatch):
    monkeypatch.setattr("tests.test_imports.PACKAGE", tmp_path)
    (tmp_path / "model").mkdir()
    module = tmp_path / "model" / "a.py"
    module.write_text(
        "from ..store import x\nfrom . import b\nfrom npczarr import store\ndef f():\n    import dask.array\n"
    )
    assert list(imports(module)) == ["npczarr.store", "npczarr.model", "npczarr.store", "dask.array"]


def test_every_public_name_can_be_imported():
    assert {"open", "convert", "morphology", "tables", "StoreError"} <= set(npczarr.__all__) == set(dir(npczarr))
    for name in npczarr.__all__:
        found = getattr(npczarr, name)
        assert callable(found) or inspect.ismodule(found), name
    with pytest.raises(AttributeError, match="nothing_of_this_name"):
        _ = npczarr.nothing_of_this_name


def test_the_package_is_typed():
    assert (PACKAGE / "py.typed").exists()
