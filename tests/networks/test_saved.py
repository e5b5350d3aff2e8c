"""Points in weight space from a file."""

import pickle

import numpy as np
import pytest

from pcbench.audit import audit_suites, load_faults
from pcbench.data import DatasetMissingError, digest
from pcbench.errors import UsageError
from pcbench.networks import ImpossibleNetworkError, LecunNormal, NetworkSpec, Saved
from pcbench.networks.parameters import NetworkParameters
from pcbench.runner import run_suites
from pcbench.suite import SuiteError
from tests.helpers.toy_suites import load_suite

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
        ({"W_2": np.zeros((9, 9))}, r"W_2 in '.*' has shape \(9, 9\), and .* needs \(2, 3\)"),
        ({"W_1": np.ones((2, 3))}, r"W_1 .* shape \(2, 3\), .* needs \(3, 2\): .*transposed"),
        ({"b_2": np.ones(3)}, r"b_2 .* shape \(3,\), and the network needs \(2\)"),
        ({"W_1": np.full((3, 2), np.nan)}, "W_1 .* not finite"),
        ({"b_1": np.array([0, np.inf, 0])}, "b_1 .* not finite"),
        ({"W_1": np.full((3, 2), "x")}, "no real numbers"),
        ({"W_1": np.ones((3, 2), complex)}, "no real numbers"),
        ({"W_3": np.ones((2, 2))}, "holds W_3, .* no use for: it has 2 layers with biases"),
        ({"momentum": np.ones(2)}, "holds momentum, "),
    ],
)
def test_what_does_not_fit_or_goes_unused_is_refused(path, arrays, change, reason):
    np.savez(path, **(arrays | change))
    saved, rng = Saved(path=str(path)), np.random.default_rng(0)
    for read in (saved.draw, saved.draw_biases):
        with pytest.raises(ImpossibleNetworkError, match=reason):
            read(NETWORK, rng)


def test_biases_of_a_network_without_any_are_refused(path):
    with pytest.raises(ImpossibleNetworkError, match=r"holds b_1, b_2, .* without biases"):
        Saved(path=str(path)).draw(NetworkSpec((2, 3, 2)), np.random.default_rng(0))


def test_what_is_kept_beside_a_candidate_is_no_parameter(path, arrays):
    np.savez(path, **arrays, hessian=np.eye(2), energy=np.array(0.5))
    assert len(Saved(path=str(path)).draw(NETWORK, np.random.default_rng(0))) == 2


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"W_1": np.ones((2, 3))}, r"W_1 .* shape \(2, 3\), .* needs \(3, any\)"),
        ({"W_2": np.ones((3, 2))}, r"W_2 .* needs \(any, 3\)"),
        ({"W_1": np.full((3, 2), np.nan)}, "not finite"),
        ({"W_3": np.ones((2, 2))}, "no use for"),
        ({}, None),
        ({"W_1": np.ones((3, 7)), "W_2": np.ones((5, 3)), "b_2": np.ones(5)}, None),
    ],
)
def test_what_no_data_would_mend_is_a_mistake_of_the_suite(path, arrays, change, reason):
    np.savez(path, **(arrays | change))
    written = {"widths": [3], "bias": True, "initialisation": {"name": "saved", "path": str(path)}}
    if reason is None:
        assert NetworkParameters.model_validate(written).bias
        return
    with pytest.raises(ValueError, match=reason):
        NetworkParameters.model_validate(written)


def test_a_file_that_lacks_a_layer_is_refused(path, arrays):
    arrays.pop("W_2")
    np.savez(path, **arrays)
    with pytest.raises(ImpossibleNetworkError, match="lacks W_2"):
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


INITIALISATION = "network.initialisation"
SUITE = """suite: saved
cases:
  - id: here
    kind: hessian_spectrum
    data: {{name: toy_gaussian, samples: 8, dimension: {dimension}}}
    network: {{widths: [3], bias: true, initialisation: {{name: saved, path: "{path}"}}}}
    probes: 2
"""


@pytest.fixture
def suite(tmp_path, path):
    def suite(dimension):
        (tmp_path / "saved.yaml").write_text(SUITE.format(path=path, dimension=dimension))
        return load_suite(tmp_path / "saved.yaml")

    return suite


@pytest.mark.usefixtures("timed_twice")
def test_a_spectrum_is_taken_at_a_saved_point_that_fits_the_data(suite, arrays):
    (case,) = run_suites([suite(dimension=2)]).cases
    assert case.status == "passed", case.message
    assert case.digests["weights"] == digest(arrays.values())


def refusal(suite, run=run_suites):
    with pytest.raises(UsageError) as refused:
        run([suite])
    [line] = str(refused.value).splitlines()
    return line


def test_weights_that_do_not_fit_the_data_are_refused_before_anything_runs(suite):
    for run in (run_suites, lambda suites: audit_suites(suites, load_faults()[:1])):
        line = refusal(suite(dimension=4), run)
        assert "saved.yaml: here: W_1 in '" in line
        assert "has shape (3, 2), and the network needs (3, 4)" in line


def test_weights_of_data_that_are_not_there_are_left_to_the_case(suite, monkeypatch):
    def missing(*_):
        raise DatasetMissingError("it is not on this machine")

    monkeypatch.setattr("pcbench.data.load", missing)
    (case,) = run_suites([suite(dimension=4)]).cases
    assert (case.status, case.message) == ("skipped", "it is not on this machine")


def test_a_path_in_a_suite_is_seen_from_there_and_one_of_set_from_here(tmp_path, path, monkeypatch):
    folder = tmp_path / "suites"
    folder.mkdir()
    (folder / "saved.yaml").write_text(SUITE.format(path="../point.npz", dimension=2))
    monkeypatch.chdir(tmp_path)
    option = f"{INITIALISATION}.path=point.npz"
    for overrides in ((), (option,)):
        suite = load_suite(folder / "saved.yaml", overrides=overrides)
        saved = pickle.loads(pickle.dumps(suite.cases[0])).parameters.network.initialisation
        assert saved.file.resolve() == path.resolve()
    monkeypatch.chdir(folder)
    assert load_suite(folder / "saved.yaml").cases
    with pytest.raises(SuiteError, match=r"there is no file 'point\.npz'"):
        load_suite(folder / "saved.yaml", overrides=[option])
