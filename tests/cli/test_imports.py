"""What a command imports, and what a plug-in that cannot be imported breaks: nothing but itself."""

import pytest

from tests.helpers.command_line import pcbench, python
from tests.helpers.toy_suites import ENERGY, write_suite

# Runs a command in a fresh Python, and says which heavy packages it has loaded.
PROBE = """
import atexit, sys

def tell():
    loaded = {"torch", "numpy", "scipy"}.intersection(sys.modules)
    print("loaded:", *sorted(loaded), file=sys.stderr)

atexit.register(tell)
from pcbench.cli import main
main()
"""

BROKEN = """
[pcbench.cases]
broken_case = broken_plugin:Case
[pcbench.datasets]
broken_data = broken_plugin:Data
[pcbench.backends]
broken_backend = no_such_module:Backend
"""


@pytest.mark.parametrize(
    ("arguments", "heavy"),
    [
        (["--help"], ""),
        (["--version"], ""),
        (["list"], ""),
        (["list", "theory"], ""),
        (["list", "origin_escape"], ""),
        (["validate", "theory"], " numpy scipy"),
    ],
)
def test_commands_that_compute_nothing_never_import_torch(arguments, heavy):
    done = python("-c", PROBE, *arguments)
    assert done.returncode == 0, done.stderr
    assert done.stderr == f"loaded:{heavy}\n"


def test_the_probe_sees_torch_where_it_is_imported(tmp_path):
    suite = write_suite(tmp_path / "suite.yaml", ENERGY)
    done = python("-c", PROBE, "run", suite, "--device", "none", "--in-process")
    assert done.stderr.endswith("loaded: numpy scipy torch\n")


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    """A directory with an installed package whose plug-ins cannot be imported."""
    folder = tmp_path_factory.mktemp("plugins")
    (folder / "broken_plugin.py").write_text("raise RuntimeError('its wheels came off')\n")
    metadata = folder / "broken_plugin-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-plugin\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(BROKEN)
    return folder


def test_broken_plugins_break_no_listing(broken):
    done = pcbench("list", PYTHONPATH=broken)
    assert (done.returncode, done.stderr) == (0, "")
    for name in ("broken_case", "broken_data", "broken_backend", "origin_hessian", "mnist1d"):
        assert name in done.stdout


def test_broken_plugins_break_no_suite_that_does_not_name_them(broken):
    done = pcbench("validate", "theory", PYTHONPATH=broken)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_suite_that_names_a_broken_plugin_is_told_so_at_its_place(broken, tmp_path):
    suite = write_suite(tmp_path / "suite.yaml", "{id: a, kind: broken_case}")
    done = pcbench("run", suite, PYTHONPATH=broken)
    assert done.returncode == 2
    assert done.stderr == (
        f"{suite}:3:19: the case kind 'broken_case' (broken_plugin:Case) cannot be imported: "
        "its wheels came off\n"
    )


def test_doctor_names_broken_plugins_and_why_they_are(broken):
    done = pcbench("doctor", PYTHONPATH=broken)
    assert done.returncode == 0, done.stderr
    lines = [line.strip() for line in done.stdout.splitlines()]
    reason = "cannot be imported: its wheels came off"
    assert f"the case kind 'broken_case' (broken_plugin:Case) {reason}" in lines
    assert f"the dataset 'broken_data' (broken_plugin:Data) {reason}" in lines
    assert (
        "the backend 'broken_backend' (no_such_module:Backend) cannot be imported: "
        "No module named 'no_such_module'"
    ) in lines
