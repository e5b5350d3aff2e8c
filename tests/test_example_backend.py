"""The example of a third party's backend: installed as a package, and judged like any other."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from pcbench.contract import Backend, Model
from tests.helpers.command_line import pcbench

ROOT = Path(__file__).parents[1]
EXAMPLE, PAGE = ROOT / "examples" / "backend", ROOT / "docs" / "write-a-backend.md"


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Where the example is installed, by pip."""
    folder = tmp_path_factory.mktemp("installed")
    options = ["--quiet", "--no-index", "--no-deps", "--no-build-isolation", "--target", folder]
    command = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", *options]
    done = subprocess.run([*command, EXAMPLE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_it_is_short():
    assert len((EXAMPLE / "pcbench_plain.py").read_text().splitlines()) < 150


def test_it_is_listed_with_what_it_offers(installed):
    done = pcbench("backends", PYTHONPATH=installed)
    assert (done.returncode, done.stderr) == (0, "")
    [row] = [line for line in done.stdout.splitlines() if line.startswith("plain ")]
    assert row.split()[1:3] == ["pcbench-plain", "1.0.0"]
    assert row.endswith("float32, float64")


def documented():
    """The page's own command, without its first word."""
    page = PAGE.read_text().replace("\\\n", " ")
    [command] = [
        line for line in page.splitlines() if line.startswith("pcbench run theory --backend plain")
    ]
    return shlex.split(command)[1:]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_it_passes_what_it_offers_by_the_command_of_the_page(installed, tmp_path, dtype):
    done = pcbench(
        *documented(),
        *("--dtype", dtype, "--json", tmp_path / "report.json"),
        PYTHONPATH=installed,
    )
    cases = json.loads((tmp_path / "report.json").read_text())["cases"]
    assert done.returncode == 0, done.stdout
    assert {case["status"] for case in cases} == {"passed"}
    assert {case["backend"] for case in cases} == {"plain"}


def test_what_it_does_not_offer_is_skipped_with_the_reason(installed, tmp_path):
    done = pcbench("run", "theory", "--backend", "plain", "-k", "chain", PYTHONPATH=installed)
    assert done.returncode == 4, done.stdout
    assert "the backend 'plain' does not offer exact_inference, hessian" in done.stdout


@pytest.mark.slow
def test_it_keeps_the_contract(installed, tmp_path):
    done = pcbench(
        *("run", "conformance", "--backend", "plain", "--json", tmp_path / "report.json"),
        PYTHONPATH=installed,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout
    summary = json.loads((tmp_path / "report.json").read_text())["summary"]
    assert summary["passed"] > 10


def test_the_page_says_how_many_methods_are_required():
    required = len(Backend.__abstractmethods__), len(Model.__abstractmethods__)
    assert required == (4, 6)
    assert "It answers ten questions, six of them about a network" in PAGE.read_text()
