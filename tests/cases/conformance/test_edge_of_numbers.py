"""Random networks at the edge of the numbers: no correct backend fails, and nothing breaks."""

from collections import Counter
from pathlib import Path

import pytest

from pcbench.backends.numpy import NumpyBackend
from pcbench.backends.torch import TorchBackend
from pcbench.cases.conformance.draw import Draw
from pcbench.cases.equilibrated_energy import EquilibratedEnergy, Parameters
from pcbench.runner import run_suites
from pcbench.suite import PlannedCase, Suite
from tests.cases.conformance.questions import ask
from tests.helpers.plugged_in import plugged_in

pytestmark = pytest.mark.usefixtures("without_shapes")

BACKENDS = [(TorchBackend, "float64"), (TorchBackend, "float32"), (NumpyBackend, "float64")]
QUESTIONS = [
    ("evaluation", None, "linear"),
    ("evaluation", None, "nonlinear"),
    *(("inference", engine, "linear") for engine in ("exact", "gauss_newton", "gradient", "error")),
    ("inference", "ode", "linear"),
]
# The other questions judge many steps, products or replicas of each network.
LONGER = [
    *(("training", None, layers) for layers in ("linear", "smooth")),
    *(("replicas", None, layers) for layers in ("linear", "smooth")),
    *(("hessian", None, layers) for layers in ("linear", "smooth")),
]
EDGE = {"depth": (1, 40), "width": (1, 30), "samples": (1, 8)}
SMALLER = {"depth": (1, 12), "width": (1, 12), "samples": (1, 8)}
# Once failures of correct backends, each of its own kind: the question, the network, the verdict.
FOUND = [
    # The force that SiLU's slope multiplies is larger far from the output than at it.
    ("evaluation", None, "nonlinear", "float32", 344, "passed"),
    # What is left of the output's error was orthogonal to the last layer, and its square below 0.
    ("inference", "exact", "linear", "float32", 259, "passed"),
    # S of Theorem 1 is singular to the dtype.
    ("inference", "exact", "linear", "float32", 93, "undecided"),
    ("inference", "gauss_newton", "linear", "float32", 154, "undecided"),
    ("replicas", None, "linear", "float32", 48, "undecided"),
    # The squares of a gradient leave the range that the gradient is in.
    ("training", None, "linear", "float32", 7, "undecided"),
    # The equilibrium of the judge was off by more than float64 rounds.
    ("hessian", None, "smooth", "float64", 40, "passed"),
    # The system of the outputs, by which inner systems are solved, is singular to float64.
    ("hessian", None, "smooth", "float64", 1, "undecided"),
    # A budget of steps was spent by a replica that is a thousand times as stiff.
    ("replicas", None, "linear", "float64", 6, "passed"),
    ("replicas", None, "smooth", "float64", 14, "passed"),
    # A step of Gauss-Newton rounds by what the start misses, not by where it ends.
    ("replicas", None, "smooth", "float64", 46, "passed"),
    # The force at the start is lost in the rounding of activities.
    ("replicas", None, "smooth", "float64", 35, "undecided"),
    # Steps in errors lead up, in theory, too.
    ("replicas", None, "smooth", "float64", 12, "undecided"),
    # A residual was asked for that float32 does not hold.
    ("replicas", None, "linear", "float32", 26, "passed"),
]


@pytest.fixture(autouse=True)
def weights_of_any_size(monkeypatch):
    def parameters(self, spec, rng):
        std = 10.0 ** rng.uniform(-6, 3)
        weights = [std * rng.standard_normal(shape) for shape in spec.shapes]
        return weights, [0.1 * rng.standard_normal(shape) for shape in spec.bias_shapes]

    monkeypatch.setattr(Draw, "parameters", parameters)


def asked(backend, question, dtype, seed, draw, engine=None):
    # The fourth draw and the first three have shapes of their own.
    only = 5 + seed % 5
    return ask(backend, question, dtype, seed=seed, networks=1, only=only, engine=engine, draw=draw)


@pytest.mark.parametrize(
    "seeds",
    [
        pytest.param(range(100, 103), marks=pytest.mark.slow),
        pytest.param(range(500), marks=pytest.mark.release),
    ],
    ids=["few", "500"],
)
@pytest.mark.parametrize(("question", "engine", "layers"), QUESTIONS)
@pytest.mark.parametrize(("backend", "dtype"), BACKENDS)
def test_no_network_fails_or_breaks_a_correct_backend(
    backend, dtype, question, engine, layers, seeds, record_property
):
    fates, alarms = Counter(), {}
    for seed in seeds:
        result = asked(backend, question, dtype, seed, EDGE | {"layers": layers}, engine)
        fates[result.status] += 1
        if result.status not in ("passed", "undecided"):
            alarms[seed] = result.message
    record_property("fates", dict(fates))
    assert alarms == {}
    assert fates["passed"] > len(seeds) / 2  # what is undecided is the exception


@pytest.mark.parametrize(
    "seeds",
    [
        pytest.param(range(1), marks=pytest.mark.slow),
        pytest.param(range(50), marks=pytest.mark.release),
    ],
    ids=["one", "50"],
)
@pytest.mark.parametrize(("question", "engine", "layers"), LONGER)
@pytest.mark.parametrize(("backend", "dtype"), BACKENDS)
def test_nor_where_steps_products_and_replicas_are_judged(
    backend, dtype, question, engine, layers, seeds
):
    alarms = {}
    for seed in seeds:
        result = asked(backend, question, dtype, seed, SMALLER | {"layers": layers})
        if result.status in ("failed", "errored"):
            alarms[seed] = result.message
    assert alarms == {}


@pytest.mark.parametrize(
    ("question", "engine", "layers", "dtype", "seed", "verdict"),
    [pytest.param(*row, marks=[pytest.mark.slow] if row[0] == "replicas" else []) for row in FOUND],
)
def test_networks_that_once_failed_a_correct_backend(
    question, engine, layers, dtype, seed, verdict
):
    draw = (SMALLER if engine is None and question != "evaluation" else EDGE) | {"layers": layers}
    result = asked(TorchBackend, question, dtype, seed, draw, engine)
    assert result.status == verdict, result.message


def test_inference_that_leaves_the_range_in_training_is_said_to():
    """Once the residual that overflows in float32 was called a malformed answer."""
    edge = {"depth": (1, 12), "width": (1, 12), "samples": (1, 8), "layers": "smooth"}
    result = ask(TorchBackend, "training", "float32", networks=1, only=5, draw=edge)
    assert result.status == "undecided"
    assert "the force that inference left, 1.2e+20, has no square in float32" in result.message


def test_the_reference_passes_at_ten_layers_of_50_with_large_weights():
    network = {
        "hidden_layers": 9,
        "width": 50,
        "initialisation": {"name": "near_origin", "std": 0.5},
    }
    parameters = Parameters.model_validate(
        {
            "data": {"name": "toy_gaussian", "dimension": 50},
            "network": network,
            "training": {"steps": 3},
        }
    )
    case = PlannedCase(
        id="asked",
        kind="equilibrated_energy",
        case=EquilibratedEnergy,
        parameters=parameters,
        seed=0,
        dtype="float64",
        backend="asked",
        device="cpu",
    )
    with plugged_in({"asked": NumpyBackend}):
        [result] = run_suites([Suite("edge", "", (case,), Path("edge.yaml"))]).cases
    assert result.status == "passed", result.message
