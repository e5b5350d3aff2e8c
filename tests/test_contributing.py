"""The example of a case in CONTRIBUTING, as it stands: installed, run, and seen to catch faults."""

import ast
import os
import re
import shlex
import tomllib
from pathlib import Path

import pytest

import pcbench.case
from tests.helpers.command_line import python

ROOT = Path(__file__).parents[1]
WHOLE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
PAGE = WHOLE[WHOLE.index("## Write a case") : WHOLE.index("## Add a dataset")]


def block(language):
    """Return the only block of code in that language in what the page says of a case."""
    [code] = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return code


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder with the case, the suite, and what ``pip`` makes of the ``pyproject.toml``."""
    folder = tmp_path_factory.mktemp("installed")
    (folder / "my_cases.py").write_text(block("python"))
    (folder / "mine.yaml").write_text(block("yaml"))
    project = tomllib.loads(block("toml"))["project"]
    metadata = folder / f"my_cases-{project['version']}.dist-info"
    metadata.mkdir()
    named = f"Name: {project['name']}\nVersion: {project['version']}\n"
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\n{named}")
    [(group, entries)] = project["entry-points"].items()
    lines = [f"{name} = {value}" for name, value in entries.items()]
    (metadata / "entry_points.txt").write_text("\n".join([f"[{group}]", *lines]))
    return folder


def call(installed, *arguments):
    """Run ``python -m`` with these arguments where the example is installed."""
    path = os.pathsep.join(map(str, (installed, ROOT)))
    return python("-m", *arguments, cwd=installed, PYTHONPATH=path)


def commands():
    """The page's commands, word by word."""
    return [shlex.split(line) for line in block("sh").splitlines()]


def test_every_command_of_the_page_does_what_it_is_for(installed):
    show, run, audit = commands()
    shown, ran, audited = (call(installed, *words) for words in (show, run, audit))
    assert (shown.returncode, ran.returncode, audited.returncode) == (0, 0, 0), ran.stderr
    assert "half the mean square of the targets" in shown.stdout
    assert "1 passed, 0 failed" in ran.stdout
    assert re.search(r"^LossSummed .*\bcaught\b", audited.stdout, re.MULTILINE), audited.stdout
    assert "survived" not in audited.stdout


@pytest.mark.parametrize(
    ("backend", "dtype"),
    [
        ("torch", "float32"),
        pytest.param("numpy", "float64", marks=pytest.mark.slow),
        pytest.param("jax", "float32", marks=pytest.mark.slow),
    ],
)
def test_a_correct_backend_passes_the_example(installed, backend, dtype):
    done = call(installed, "pcbench", "run", "mine.yaml", "--backend", backend, "--dtype", dtype)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_faulty_backend_fails_the_example(installed):
    (installed / "faulty.py").write_text(FAULTY)
    done = call(installed, "faulty")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("failed loss at the origin: ")


FAULTY = """
import pcbench
from pcbench.backends.numpy import NumpyBackend
from pcbench.registry import BACKENDS


class SumForMean(NumpyBackend):
    def build(self, network, parameters):
        model = super().build(network, parameters)
        right = model.loss
        model.loss = lambda x, y: len(y) * right(x, y)
        return model


BACKENDS.add("faulty", SumForMean)
[case] = pcbench.run("mine.yaml", backend="faulty").cases
print(case.status, case.message)
"""


def test_the_example_needs_one_public_place_and_no_more_than_six_names():
    imported = {}
    for node in ast.walk(ast.parse(block("python"))):
        if isinstance(node, ast.ImportFrom):
            imported[node.module] = {alias.name for alias in node.names}
    assert set(imported) == {"pcbench.case"}
    assert imported["pcbench.case"] == set(pcbench.case.__all__)
    assert len(pcbench.case.__all__) <= 6
    for name in pcbench.case.__all__:
        assert f"`{name}`" in PAGE
