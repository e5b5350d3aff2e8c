"""Numbers beyond a dtype's range: no kind of case errs for them, and no correct backend fails."""

import re

import pytest
import yaml

from pcbench.backends.torch import TorchBackend
from pcbench.cases.conformance.draw import Draw
from pcbench.runner import run_suites
from tests.cases.conformance.faulty import WithAnswers
from tests.cases.conformance.questions import ask
from tests.helpers.plugged_in import plugged_in
from tests.helpers.toy_suites import load_suite

pytestmark = pytest.mark.usefixtures("timed_twice")

HUGE = {"name": "near_origin", "std": 1e100}
DATA = {"name": "toy_gaussian", "dimension": 2, "samples": 16}
NETWORK = {"hidden_layers": 2, "width": 3}
MATRIX = {"name": "low_rank_matrix"}
AT_HUGE = {"data": DATA, "network": {**NETWORK, "initialisation": HUGE}}
SILU = {"data": DATA, "network": {**NETWORK, "activation": "silu", "initialisation": HUGE}}
ENGINES = {"engines": {"newton": {"engine": "gauss_newton"}}}
LAW = {"data": DATA, "network": NETWORK}


def run(tmp_path, kind, settings, dtype="float32", backend=TorchBackend):
    suite = tmp_path / "suite.yaml"
    case = {"id": "one", "kind": kind, "dtype": dtype, "backend": "asked", **settings}
    suite.write_text(yaml.safe_dump({"suite": "range", "cases": [case]}))
    with plugged_in({"asked": backend}):
        (result,) = run_suites([load_suite(suite)]).cases
    assert result.traceback == ""
    return result


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("equilibrated_energy", {**AT_HUGE, "training": {"batch": 8, "steps": 2}}),
        ("equilibrium", {**SILU, **ENGINES}),
        ("hessian_spectrum", SILU),
        ("inference_cost", {**SILU, **ENGINES}),
        ("landscape", SILU),
        ("origin_escape", {**AT_HUGE, "training": {"learning_rate": 1, "batch": 8, "steps": 20}}),
        (
            "zero_rank_saddle",
            {
                "data": DATA,
                "network": {
                    **NETWORK,
                    "initialisation": {"name": "penultimate_only", "std": 1e100},
                },
            },
        ),
        (
            "matrix_completion",
            {"data": MATRIX, "network": {"hidden_layers": 2, "width": 10, "initialisation": HUGE}},
        ),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_weights_out_of_range_are_undecided_with_the_remedy(tmp_path, kind, settings, dtype):
    result = run(tmp_path, kind, settings, dtype)
    assert result.status == "undecided", result.message
    assert "The initial weights or the data are too large: " in result.message
    assert "network.initialisation" in result.message


@pytest.mark.parametrize("rate", [50.0, 1e6, 1e300])
@pytest.mark.parametrize(
    ("kind", "settings", "fates"),
    [
        ("equilibrated_energy", {"data": DATA, "network": NETWORK}, {"undecided"}),
        ("matrix_completion", {"data": MATRIX}, {"undecided", "skipped"}),
        ("escape_law", LAW, {"undecided", "skipped"}),
    ],
)
def test_training_that_diverges_is_no_failure_of_a_correct_backend(
    tmp_path, kind, settings, fates, rate
):
    training = {
        "equilibrated_energy": {"batch": 8, "steps": 4},
        "matrix_completion": {"steps": 100},
        "escape_law": {"max_steps": 200},
    }[kind]
    if kind == "matrix_completion":
        settings = {**settings, "network": {"hidden_layers": 2, "width": 10}}
    result = run(tmp_path, kind, {**settings, "training": {**training, "learning_rate": rate}})
    assert result.status in fates, result.message
    if result.status == "undecided":
        told = (
            rf"diverged (at step \d+|within \d+ steps) at learning rate {re.escape(f'{rate:g}')}\b"
        )
        assert re.search(told, result.message)


@pytest.mark.parametrize(
    ("engine", "rate"),
    [(engine, rate) for engine in ("gradient", "error", "gauss_newton") for rate in (50.0, 1e6)]
    + [("ode", 1e6)],
)
def test_nor_is_inference_after_a_step_that_is_far_too_long(tmp_path, engine, rate):
    """Inference that goes on from weights so large ends far from equilibrium, or nowhere."""
    training = {"batch": 8, "steps": 4, "learning_rate": rate}
    network = {"hidden_layers": 1, "width": 10}
    settings = {"data": DATA, "network": network, "training": training}
    asked = {**settings, "inference": {"engine": engine}}
    result = run(tmp_path, "equilibrated_energy", asked, "float64")
    assert result.status in {"passed", "undecided"}, result.message
    if engine in ("gradient", "error"):
        assert "lead up in theory, too; ask for a smaller step" in result.message


@pytest.mark.parametrize("seed", [1, 2])
def test_an_equilibrium_whose_least_curvature_float64_hides_is_undecided(monkeypatch, seed):
    def parameters(self, spec, rng):
        return [10.0 ** rng.uniform(8, 12) * rng.standard_normal(s) for s in spec.shapes], []

    monkeypatch.setattr(Draw, "parameters", parameters)
    draw = {"depth": (3, 3), "width": (2, 3), "samples": (2, 2), "layers": "linear"}
    result = ask(TorchBackend, "inference", seed=seed, networks=1, only=5, draw=draw)
    assert result.status == "undecided", result.message
    assert "is lost in the rounding of the largest" in result.message


class TwiceTheLoss(WithAnswers):
    """The loss lacks its factor of one half."""

    method = "loss"

    def answer(self, honest, *arguments):
        return 2 * honest(*arguments)


class PredictsNothing(WithAnswers):
    """Predictions are zero, and the loss is made of them."""

    method = "predict"

    def answer(self, honest, *arguments):
        return 0 * honest(*arguments)


@pytest.mark.parametrize(
    ("backend", "status", "wrong"),
    [
        (TorchBackend, "undecided", set()),
        (TwiceTheLoss, "failed", {"loss"}),
        (PredictsNothing, "failed", {"loss", "prediction"}),
    ],
)
def test_loss_and_prediction_are_judged_where_no_inverse_of_s_can_be_told(
    tmp_path, backend, status, wrong
):
    large = {**NETWORK, "initialisation": {"name": "near_origin", "std": 1e3}}
    settings = {"data": DATA, "network": large, "training": {"batch": 8, "steps": 2}}
    result = run(tmp_path, "equilibrated_energy", settings, backend=backend)
    verdicts = {check.name: check for check in result.checks}
    assert result.status == status, result.message
    assert "S of Theorem 1 has trace" in verdicts["training within range"].message
    assert {"loss", "prediction"} < set(verdicts)
    assert {name for name, check in verdicts.items() if check.status == "failed"} == wrong
