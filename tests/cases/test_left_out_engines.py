"""A backend that lacks an engine is judged by the others, and the report says which is missing."""

import pytest

from pcbench.backends.torch import TorchBackend
from pcbench.contract import Capability
from pcbench.runner import run_suites
from pcbench.suite import load_suites
from tests.helpers.plugged_in import plugged_in

pytestmark = pytest.mark.usefixtures("timed_twice", "without_shapes")

CASES = {
    "nonlinear": "smooth and tanh and convention=post and bias=true",
    "inference": "linear[hidden_layers=1]",
}


class OnlyGradient(TorchBackend):
    """Offers one engine."""

    name = "OnlyGradient"
    capabilities = frozenset({Capability.GRADIENT_INFERENCE, Capability.NONLINEAR})


class NoEngine(TorchBackend):
    """Offers none."""

    name = "NoEngine"
    capabilities = frozenset({Capability.NONLINEAR})


class WrongGradient(OnlyGradient):
    """Says that it is at equilibrium wherever it is."""

    name = "WrongGradient"

    def build(self, network, parameters):
        model = super().build(network, parameters)
        infer = model.infer
        model.infer = lambda x, y, settings: infer(
            x, y, settings.model_copy(update={"max_steps": 1, "residual": 0.99})
        )
        return model


@pytest.fixture(scope="module", autouse=True)
def _backends_registered():
    backends = (OnlyGradient, NoEngine, WrongGradient)
    with plugged_in({backend.name: backend for backend in backends}):
        yield


def run(suite, backend):
    [case] = run_suites(
        load_suites([suite], overrides=[f"backend={backend}"], select=CASES[suite])
    ).cases
    return case


@pytest.mark.parametrize(
    ("suite", "missing"),
    [
        ("nonlinear", ["gauss-newton", "error-based", "ode"]),
        ("inference", ["exact", "gauss-newton", "error-based"]),
    ],
)
def test_what_is_offered_is_judged_and_what_is_missing_is_told(suite, missing):
    case = run(suite, "OnlyGradient")
    assert case.status == "passed", case.message
    assert list(case.omitted) == [f"engine {label}" for label in missing]
    told = "the backend 'OnlyGradient' does not offer error_inference"
    assert case.omitted["engine error-based"] == told
    assert any(check.name.startswith("gradient: ") for check in case.checks)
    assert not any(label in check.name for check in case.checks for label in missing)


@pytest.mark.parametrize("suite", CASES)
def test_the_engine_that_is_left_is_judged_in_earnest(suite):
    assert run(suite, "WrongGradient").status == "failed"


@pytest.mark.parametrize("suite", CASES)
def test_where_no_engine_is_left_the_case_is_skipped(suite):
    case = run(suite, "NoEngine")
    assert case.status == "skipped"
    assert case.message.startswith("the backend 'NoEngine' does not offer error_inference, ")
    assert case.omitted == {}


@pytest.mark.parametrize("suite", CASES)
def test_a_backend_with_every_engine_leaves_nothing_out(suite):
    assert run(suite, "torch").omitted == {}
