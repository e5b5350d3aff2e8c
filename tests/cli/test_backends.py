"""``pcbench backends``: who can compute here, and why another cannot."""

import pytest

from pcbench.contract import Capability
from tests.helpers.command_line import pcbench

PLUGINS = """
[pcbench.backends]
absent = no_such_module:Backend
refusing = odd_backends:Refusing
mute = odd_backends:Mute
leaving = odd_backends:Leaving
misspelt = odd_backends:Misspelt
half = odd_backends:Half
"""
ODD = """
from tests.helpers.example_plugins import PlainNumpy
from pcbench.contract import BackendUnavailableError


class Refusing(PlainNumpy):
    def __init__(self, device, dtype):
        raise BackendUnavailableError("plug the accelerator in")


class Mute(PlainNumpy):
    @classmethod
    def devices(cls):
        raise RuntimeError("the driver hung up")


class Leaving(PlainNumpy):
    def __init__(self, device, dtype):
        raise SystemExit("no licence")


class Misspelt(PlainNumpy):
    capabilities = frozenset({"precison"})


class Half(PlainNumpy):
    def __init__(self, device, dtype):
        super().__init__(device, dtype)
        if dtype == "float64":
            raise BackendUnavailableError("float32 only")
"""


@pytest.fixture(scope="module")
def listed(tmp_path_factory, request):
    """What the command prints where odd plug-ins are installed."""
    folder = tmp_path_factory.mktemp("plugins")
    (folder / "odd_backends.py").write_text(ODD)
    metadata = folder / "odd-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: odd\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(PLUGINS)
    root = request.config.rootpath
    done = pcbench("backends", PYTHONPATH=f"{folder}:{root}")
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_a_backend_has_its_package_versions_devices_and_dtypes(listed):
    [row] = [line for line in listed if line.startswith("torch ")]
    assert "pcbench 0." in row
    assert "torch 2." in row
    assert " cpu" in row
    assert row.endswith("float32, float64")


def test_every_capability_is_a_row(listed):
    assert {line.split()[0] for line in listed if line.strip()} >= set(Capability)
    [heading] = [line for line in listed if line.startswith("capability")]
    assert "torch" in heading.split()


def test_a_dtype_that_a_backend_has_not_is_left_out(listed):
    [row] = [line for line in listed if line.startswith("half ")]
    assert row.split()[-1] == "float32"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (
            "absent",
            "the backend 'absent' (no_such_module:Backend) cannot be imported: "
            "No module named 'no_such_module'",
        ),
        ("refusing", "plug the accelerator in"),
        (
            "leaving",
            "the backend 'leaving' cannot be made for 'cpu' and float32: SystemExit: no licence",
        ),
        (
            "misspelt",
            "the backend 'misspelt' declares 'precison', which is no capability; "
            "did you mean 'precision'?",
        ),
        ("mute", "it fails to say what it offers: RuntimeError: the driver hung up"),
    ],
)
def test_one_that_cannot_be_had_is_told_with_the_reason(listed, name, reason):
    assert f"{name} is not available: {reason}" in listed
