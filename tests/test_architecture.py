"""The house stands as designed, as far as its imports show; import-linter holds the whole of it."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import pcbench
from tests.helpers.command_line import python

PACKAGE = Path(pcbench.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
MOST_LINES = 400


def imports(path):
    """Return what a file imports anywhere in it, a function or ``TYPE_CHECKING`` included."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            # `from a import b` imports a.b where b is a module.
            found.update({module, *(f"{module}.{alias.name}" for alias in node.names)})
    return found


def graph(files, root):
    """Return which of the files' modules each of them imports, ``TYPE_CHECKING`` included.

    `from a import b` is an import of `a.b` where that is a module, and of `a` elsewhere.
    """
    names = {}
    for path in files:
        *rooms, stem = path.relative_to(root.parent).with_suffix("").parts
        names[".".join(rooms if stem == "__init__" else (*rooms, stem))] = path
    found = {}
    for name, path in names.items():
        reached = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                reached.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                parts = [f"{node.module}.{alias.name}" for alias in node.names]
                reached.update(part if part in names else node.module for part in parts)
        found[name] = reached & names.keys() - {name}
    return found


def importers(name, under=PACKAGE):
    """Return the files under a folder that import a package or anything in it."""
    return {
        path.relative_to(PACKAGE).as_posix()
        for path in sorted(under.rglob("*.py"))
        if any(f"{module}.".startswith(f"{name}.") for module in imports(path))
    }


def test_imports_are_found_wherever_they_stand(tmp_path):
    path = tmp_path / "module.py"
    path.write_text("def f():\n    import a.b as c\n    from d import e\nfrom . import g\n")
    assert imports(path) == {"a.b", "d", "d.e", ".", "..g"}


def test_no_import_is_relative():
    assert [path for path in FILES if any(name.startswith(".") for name in imports(path))] == []


def test_no_imports_go_round_in_a_circle():
    tuple(TopologicalSorter(graph(FILES, PACKAGE)).static_order())


def test_a_circle_of_imports_is_seen_also_where_only_types_are_imported(tmp_path):
    root = tmp_path / "house"
    root.mkdir()
    typed = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from house import model\n"
    for name, text in (
        ("__init__", "from house.model import Model\n"),
        ("model", "def train():\n    from house.trainer import Trainer\n"),
        ("trainer", typed),
    ):
        (root / f"{name}.py").write_text(text)
    with pytest.raises(CycleError, match=r"house\.trainer"):
        tuple(TopologicalSorter(graph(sorted(root.iterdir()), root)).static_order())


@pytest.mark.parametrize("room", ["theory", "statistics"])
def test_a_room_of_formulas_imports_nothing_else_of_the_package(room):
    for path in (PACKAGE / room).rglob("*.py"):
        ours = {name for name in imports(path) if name.split(".")[0] == "pcbench"}
        assert all(f"{name}.".startswith(f"pcbench.{room}.") for name in ours), path


def test_no_backend_knows_the_theory_that_it_is_held_against():
    assert importers("pcbench.theory", PACKAGE / "backends") == set()
    assert importers("pcbench.theory") != set()  # the question is well put: cases do import it


def test_the_reference_backend_is_no_relative_of_the_one_that_is_held_against_it():
    assert importers("pcbench.backends.torch", PACKAGE / "backends" / "numpy") == set()
    assert importers("pcbench.backends.numpy", PACKAGE / "backends" / "torch") == set()


def test_torch_is_imported_by_its_backend_and_by_doctor_alone():
    elsewhere = {name for name in importers("torch") if not name.startswith("backends/torch/")}
    assert elsewhere == {"cli/machine.py"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_a_file_is_short_enough_to_be_read(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MOST_LINES


@pytest.mark.parametrize("module", ["pcbench", "pcbench.cli"])
def test_importing_the_package_imports_nothing_heavy(module):
    code = f"import sys, {module}; print(*{{'numpy', 'scipy', 'torch'}} & set(sys.modules))"
    assert python("-c", code).stdout == "\n"
