"""The wheel holds all that a user needs, and works without the clone."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from pcbench import __version__
from tests.helpers.command_line import pcbench, python

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.slow


def call(*arguments):
    """Run a Python module, and fail with all that it said."""
    done = subprocess.run(
        [sys.executable, "-m", *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    call("build", "--wheel", "--no-isolation", "--outdir", folder, ROOT)
    [built] = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def contents(wheel):
    """The files of the wheel by name, those of its metadata without their folder."""
    with zipfile.ZipFile(wheel) as archive:
        metadata = f"pcbench-{__version__}.dist-info/"
        return {name.removeprefix(metadata): archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A directory into which the wheel is installed, with nothing else."""
    folder = tmp_path_factory.mktemp("installed")
    options = ("--quiet", "--no-index", "--no-deps", "--disable-pip-version-check", "--target")
    call("pip", "install", *options, folder, wheel)
    return folder


@pytest.fixture
def from_wheel(installed, tmp_path):
    """Run pcbench out of the wheel, in a directory that has nothing to do with the clone."""

    def from_wheel(*arguments):
        done = pcbench(*arguments, cwd=tmp_path, PYTHONPATH=installed)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return from_wheel


def test_the_wheel_holds_every_module_and_the_marker_of_its_types(contents):
    sources = {path.relative_to(ROOT).as_posix() for path in (ROOT / "pcbench").rglob("*.py")}
    assert sources <= contents.keys()
    assert "pcbench/py.typed" in contents


def test_the_wheel_holds_the_suites_as_they_are_in_the_clone(contents):
    suites = list((ROOT / "suites").glob("*.yaml"))
    assert suites
    for path in suites:
        assert contents[f"pcbench/_suites/{path.name}"] == path.read_bytes()


def test_the_wheel_holds_nothing_that_only_the_clone_needs(contents):
    tops = {name.split("/")[0] for name in contents if name.endswith((".py", ".yaml"))}
    assert tops == {"pcbench"}


def test_the_wheel_has_its_licence_and_its_entry_points(contents):
    assert contents["licenses/LICENSE"] == (ROOT / "LICENSE").read_bytes()
    entries = contents["entry_points.txt"].decode().split("\n")
    for entry in (
        "[console_scripts]",
        "pcbench = pcbench.cli:main",
        "[pcbench.backends]",
        "jax = pcbench.backends.jax:JaxBackend",
        "numpy = pcbench.backends.numpy:NumpyBackend",
        "torch = pcbench.backends.torch:TorchBackend",
        "[pcbench.cases]",
        "[pcbench.datasets]",
    ):
        assert entry in entries


def test_the_wheel_is_what_runs_and_not_the_clone(installed, tmp_path):
    code = "import pcbench; print(pcbench.__file__)"
    done = python("-c", code, cwd=tmp_path, PYTHONPATH=installed)
    assert Path(done.stdout.strip()) == installed / "pcbench" / "__init__.py"


def test_the_wheel_lists_its_suites(from_wheel):
    assert "  theory  " in from_wheel("list")


def test_the_wheel_runs_a_shipped_suite_by_name(from_wheel):
    validated = from_wheel("validate", "theory")
    assert Path("pcbench", "_suites", "theory.yaml").as_posix() in Path(validated).as_posix()
    assert "2 passed, 0 failed" in from_wheel("run", "theory", "-k", "origin-2d")
