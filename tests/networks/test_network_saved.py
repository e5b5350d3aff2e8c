"""Points in weight space from a file."""

import numpy as np
import pytest

from pcbench.networks import ImpossibleNetworkError, LecunNormal, NetworkSpec, Saved
from pcbench.networks.parameters import NetworkParameters
from pcbench.runner import run_suites
from pcbench.suite import load_suite

NETWORK = NetworkSpec((2, 3, 2), bias=True)


@pytest.fixture
def arrays():
    rng = np.random.default_rng(0)
    weights = LecunNormal().draw(NETWORK, rng)
    biases = [rng.standard_normal(shape) for shape in NETWORK.bias_shapes]
    return {f"W_{l}": w for l, w in enumerate(weights, 1)} | {
        f"b_{l}": b for l, b in enumerate(biases, 1)
    }


@pytest.fixture
def path(tmp_path, arrays):
    np.savez(tmp_path / "point.npz", **arrays)
    return tmp_path / "point.npz"


def test_what_was_saved_is_read(path, arrays):
    saved, rng = Saved(path=str(path)), np.random.default_rng(0)
    found = [*saved.draw(NETWORK, rng), *saved.draw_biases(NETWORK, rng)]
    assert all((a == b).all() for a, b in zip(found, arrays.values(), strict=True))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"W_2": np.zeros((9, 9))}, r"shape \(9, 9\)"),
        ({"W_1": np.full((3, 2), np.nan)}, "no number"),
        ({"W_1": np.array(["x"])}, "no number"),
        ({"W_1": np.ones((3, 2), complex)}, "no number"),
    ],
)
def test_another_network_is_refused(path, arrays, change, reason):
    np.savez(path, **(arrays | change))
    with pytest.raises(ImpossibleNetworkError, match=reason):
        Saved(path=str(path)).draw(NETWORK, np.random.default_rng(0))


def test_a_file_that_lacks_a_layer_is_refused(path, arrays):
    arrays.pop("W_2")
    np.savez(path, **arrays)
    with pytest.raises(ImpossibleNetworkError, match="lacks an array"):
        Saved(path=str(path)).draw(NETWORK, np.random.default_rng(0))


@pytest.mark.parametrize("content", [b"no zip", b"", b"PK\x03\x04 damaged"])
def test_a_file_of_another_sort_is_refused(path, content):
    path.write_bytes(content)
    with pytest.raises(ImpossibleNetworkError, match=r"no \.npz file of"):
        Saved(path=str(path)).draw(NETWORK, np.random.default_rng(0))


def test_a_single_array_is_refused(tmp_path):
    np.save(tmp_path / "one.npy", np.ones((3, 2)))
    with pytest.raises(ImpossibleNetworkError, match=r"no \.npz file of"):
        Saved(path=str(tmp_path / "one.npy")).draw(NETWORK, np.random.default_rng(0))


def test_a_file_that_is_not_there_is_a_mistake_of_the_suite(tmp_path):
    written = {"widths": [3], "initialisation": {"name": "saved", "path": str(tmp_path / "no.npz")}}
    with pytest.raises(ValueError, match="there is no file"):
        NetworkParameters.model_validate(written)


SUITE = """suite: saved
cases:
  - id: here
    kind: hessian_spectrum
    data: {{name: toy_gaussian, samples: 8, dimension: 2}}
    network: {{widths: [{width}], bias: true, initialisation: {{name: saved, path: "{path}"}}}}
    probes: 2
    density_steps: 5
"""


@pytest.mark.usefixtures("timed_twice")
@pytest.mark.parametrize(("width", "status"), [(3, "passed"), (4, "skipped")])
def test_a_spectrum_is_taken_at_a_saved_point(tmp_path, path, width, status):
    suite = tmp_path / "saved.yaml"
    suite.write_text(SUITE.format(path=path, width=width))
    (case,) = run_suites([load_suite(suite)]).cases
    assert case.status == status, case.message
