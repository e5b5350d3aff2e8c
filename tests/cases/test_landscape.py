"""Landscapes: honest backends pass, and every check is failed by some faulty one."""

import re
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from pcbench.backends.torch import TorchBackend
from pcbench.cases.landscape.case import Landscape, Parameters
from pcbench.cases.landscape.tangent import extreme_directions, random_directions
from pcbench.judges.points import joined, split
from pcbench.networks import NetworkSpec
from pcbench.registry import CASES
from pcbench.runner import run_suites
from pcbench.suite import PlannedCase, Suite
from tests.cases.faulty.landscape import LANDSCAPE_FAULTS, NONLINEAR_FAULTS, alone
from tests.helpers.plugged_in import plugged_in

pytestmark = pytest.mark.usefixtures("timed_twice", "without_shapes")

TOY = {"name": "toy_gaussian", "dimension": 2, "samples": 8}
CHAIN = {
    "data": {"name": "toy_gaussian", "dimension": 1, "samples": 16},
    "network": {"hidden_layers": 2, "width": 1, "initialisation": "origin"},
    "points": 3,
    "paths": {"starts": 2, "steps": 3, "batch": 8},
}
# Small enough for paths, and with two outputs, over which a mean shows.
LINEAR = {
    "data": TOY,
    "network": {"hidden_layers": 2, "width": 2},
    "points": 3,
    "paths": {"starts": 1, "steps": 1, "batch": 4},
}
WIDE = {"data": TOY, "network": {"hidden_layers": 3, "width": 4}, "points": 3}
TANH = {
    "data": TOY,
    "network": {"hidden_layers": 2, "width": 3, "activation": "tanh", "bias": True},
    "points": 3,
}
SILU = {
    "data": TOY,
    "network": {"hidden_layers": 1, "width": 3, "activation": "silu", "convention": "pre"},
    "points": 3,
}
GAUSS_NEWTON = {**WIDE, "inference": {"engine": "gauss_newton", "residual": 1e-6}}
GRADIENT = {
    **WIDE,
    "inference": {"engine": "gradient", "step": 0.1, "residual": 0.03, "max_steps": 20000},
}
LOSS = {**WIDE, "curvature_of": "loss"}
RANDOM = {**TANH, "directions": "random"}
SADDLE = {**LOSS, "network": {**WIDE["network"], "initialisation": "origin"}}
PROBLEMS = {
    "chain": CHAIN,
    "linear": LINEAR,
    "tanh": TANH,
    "silu": SILU,
    "gauss-newton": GAUSS_NEWTON,
    "gradient": GRADIENT,
    "loss": LOSS,
    "random": RANDOM,
    "saddle": SADDLE,
}


@pytest.fixture(scope="module", autouse=True)
def _plugged_in():
    backends = LANDSCAPE_FAULTS | NONLINEAR_FAULTS | {"alone": alone(TorchBackend)}
    before = dict(CASES._added)
    CASES.add("landscape", Landscape)
    with plugged_in(backends):
        yield
    CASES._added.clear()
    CASES._added.update(before)


def landscape(problem, backend="torch", dtype="float64"):
    """Run one case, once."""
    return _landscape(problem, backend, dtype)


@cache
def _landscape(problem, backend, dtype):
    return run(PROBLEMS[problem], backend, dtype)


def run(asked, backend="torch", dtype="float64"):
    case = PlannedCase(
        id="slice",
        kind="landscape",
        case=Landscape,
        parameters=Parameters.model_validate(asked),
        seed=0,
        dtype=dtype,
        backend=backend,
        device="cpu",
    )
    suite = Suite(name="landscape", description="", cases=(case,), path=Path("landscape.yaml"))
    [result] = run_suites([suite]).cases
    return result


def failed(result):
    return {check.name for check in result.checks if not check.passed}


@pytest.mark.parametrize(
    ("backend", "dtype"), [("torch", "float64"), ("torch", "float32"), ("alone", "float64")]
)
@pytest.mark.parametrize("problem", PROBLEMS)
def test_the_correct_backend_passes(problem, backend, dtype):
    result = landscape(problem, backend, dtype)
    assert (result.status, result.message) == ("passed", "")


@pytest.mark.slow
@pytest.mark.parametrize("name", LANDSCAPE_FAULTS)
def test_a_faulty_backend_fails_or_is_right_about_landscapes(name):
    result = landscape("linear", name)
    # Predictions, what inference says of itself and where it leaves the output are other kinds'.
    harmless = {"OffsetPrediction", "OutputRelaxes", "SilentResidual", "NeverConverged"}
    assert result.status == ("passed" if name in harmless else "failed"), result.message


@pytest.mark.slow
@pytest.mark.parametrize("name", NONLINEAR_FAULTS)
def test_a_backend_that_is_wrong_in_any_network_fails(name):
    assert landscape("tanh", name).status == "failed"


@pytest.mark.slow
def test_every_check_is_failed_by_some_fault():
    made = {check.name for p in ("linear", "tanh") for check in landscape(p).checks}
    made |= {check.name for check in landscape("loss").checks}
    seen = set().union(*(failed(landscape("linear", name)) for name in LANDSCAPE_FAULTS))
    seen |= set().union(*(failed(landscape("tanh", name)) for name in NONLINEAR_FAULTS))
    seen |= failed(landscape("loss", "DependsOnCompany"))
    assert made - seen == set()


@pytest.mark.parametrize(
    ("problem", "backend", "checks"),
    [
        ("linear", "ProductsTooShort", {"Hessian of the loss: malformed answers"}),
        ("linear", "LargestBatchRemembered", {"steps on the loss", "steps on the energy"}),
        ("linear", "LossAveragedOverOutputs", {"loss"}),
        ("linear", "DependsOnCompany", {"eigenvector of the least curvature of the energy"}),
        ("linear", "LossForEnergyHessian", {"curvature of the energy along u"}),
        ("linear", "HalvedLastBlock", {"mixed curvature of the energy"}),
        ("linear", "EnergyForLossHessian", {"curvature of the loss along v"}),
        ("linear", "InferenceReportsLoss", {"energy ≤ loss", "energy"}),
        ("tanh", "FewSteps", {"residual within the budget"}),
        ("tanh", "TiltedGradients", {"slope of the loss along u", "slope of the loss along v"}),
        ("tanh", "TiltedForces", {"slope of the energy along u", "gradient of the energy"}),
        ("tanh", "ScaledHessians", {"curvature of the loss along u"}),
        ("tanh", "FrozenEquilibrium", {"curvature of the energy along u"}),
        ("tanh", "ReplicasInReverse", {"loss"}),
        ("tanh", "OneLossForAll", {"loss"}),
        ("tanh", "BoxedLoss", {"inference: malformed answers"}),
    ],
)
def test_a_fault_is_told_by_the_check_that_is_about_it(problem, backend, checks):
    assert checks <= failed(landscape(problem, backend))


# What there is to plot


def test_the_lines_are_the_middle_of_the_plane():
    series = landscape("loss").series
    plane = series["plane along u and v"]
    assert len(plane["u"]) == 9
    for name, other in ("uv", "vu"):
        middle = [i for i, t in enumerate(plane[other]) if t == 0]
        line_along = series[f"line along {name}"]
        assert line_along[name] == [-1.0, 0.0, 1.0]
        assert line_along["energy"] == [plane["energy"][i] for i in middle]


def test_replicas_and_points_one_by_one_give_the_same_plane():
    together, one_by_one = (landscape("tanh", backend).series for backend in ("torch", "alone"))
    for column, values in together["plane along u and v"].items():
        np.testing.assert_allclose(one_by_one["plane along u and v"][column], values, atol=1e-6)


def test_paths_of_both_learners_start_at_the_same_points_and_go_down():
    series = landscape("chain").series
    for start in (1, 2):
        bp, pc = (series[f"path {start} of {learner}"] for learner in ("BP", "PC"))
        assert bp["step"] == [0.0, 1.0, 2.0, 3.0]
        for column in ("parameter 1", "parameter 2", "parameter 3"):
            assert bp[column][0] == pc[column][0]
        assert pc["energy"][-1] < pc["energy"][0]


def test_near_the_origin_of_a_deep_chain_pc_leaves_at_the_rate_of_the_theory_and_bp_stays():
    asked = {**CHAIN, "paths": {"starts": 1, "std": 1e-4, "steps": 4, "batch": 16}}
    series = run(asked).series
    growth = np.array(series["growth of W_L near the origin"]["factor"])
    last = {way: np.array(series[f"path 1 of {way}"]["parameter 3"]) for way in ("PC", "BP")}
    np.testing.assert_allclose(last["PC"] / last["PC"][0], growth, rtol=1e-2)
    np.testing.assert_allclose(last["BP"], last["BP"][0], rtol=1e-2)


def test_a_step_too_long_leaves_the_landscape_and_the_path_ends_there():
    asked = {**CHAIN, "paths": {"starts": 1, "std": 3, "steps": 9, "learning_rate": 99, "batch": 9}}
    result = run(asked)
    assert (result.status, result.message) == ("passed", "")
    assert len(result.series["path 1 of BP"]["step"]) < 10


# Its parts


def test_a_point_split_and_joined_is_the_same():
    network = NetworkSpec((2, 3, 1), bias=True)
    points = np.random.default_rng(0).standard_normal((4, network.n_parameters))
    replicas = split(network, points)
    assert [part.shape for part in replicas] == [(4, 3, 2), (4, 1, 3), (4, 3), (4, 1)]
    np.testing.assert_array_equal(joined([part[2] for part in replicas]), points[2])


def test_a_multiple_eigenvalue_gets_the_same_vector_whatever_the_basis():
    rng = np.random.default_rng(0)
    basis, _ = np.linalg.qr(rng.standard_normal((6, 6)))
    matrix = basis @ np.diag([-2.0, -2.0, -2.0, 0.0, 3.0, 3.0]) @ basis.T
    found = [
        extreme_directions(matrix + noise, 1e-8, np.random.default_rng(1), "float64")[0]
        for noise in (0.0, 1e-12 * (basis + basis.T))
    ]
    np.testing.assert_allclose(found[0], found[1], atol=1e-9)
    np.testing.assert_allclose(found[0] @ found[0].T, np.eye(2), atol=1e-12)
    np.testing.assert_allclose(matrix @ found[0].T, found[0].T * [-2.0, 3.0], atol=1e-8)


def test_without_any_curvature_directions_are_still_two():
    found, _ = extreme_directions(np.zeros((5, 5)), 1e-10, np.random.default_rng(0), "float64")
    np.testing.assert_allclose(found @ found.T, np.eye(2), atol=1e-12)


def test_random_directions_are_orthonormal():
    vectors = random_directions(7, np.random.default_rng(0), "float32")
    np.testing.assert_allclose(vectors @ vectors.T, np.eye(2), atol=1e-6)


# What cannot be asked


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({**WIDE, "points": 4}, "misses the point that it goes through; give an odd number"),
        ({**WIDE, "points": 1}, "greater than or equal to 3"),
        ({**WIDE, "network": {"widths": [3], "activation": "relu"}}, "has kinks"),
        ({**TANH, "paths": {}}, "paths are judged by closed forms"),
        ({**TANH, "inference": {"engine": "exact"}}, "engine: exact solves linear networks"),
        ({**CHAIN, "paths": {"batch": 17}}, "paths.batch is 17 but data.samples only 16"),
        ({**WIDE, "directions": "steepest"}, "'extreme' or 'random'"),
    ],
)
def test_bad_parameters_are_refused_in_a_sentence(asked, sentence):
    with pytest.raises(ValidationError, match=sentence):
        TypeAdapter(Parameters).validate_python(asked)


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        (
            {"data": CHAIN["data"], "network": {"hidden_layers": 0, "width": 1}},
            "a slice has two directions, and this network one parameter alone",
        ),
        (
            {**WIDE, "network": {"widths": [600]}},
            "2,400 parameters take too long.* write directions: random",
        ),
        ({**WIDE, "paths": {"batch": 8}}, "a path of 48 parameters cannot be plotted"),
    ],
)
def test_networks_too_small_or_large_are_skipped_with_reason_and_remedy(asked, sentence):
    result = run(asked)
    assert result.status == "skipped"
    assert re.search(sentence, result.message)


def test_a_large_network_has_random_directions():
    asked = {**WIDE, "network": {"widths": [600]}, "directions": "random"}
    assert run(asked).status == "passed"
