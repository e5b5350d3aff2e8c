"""The questions of conformance, asked of few small networks."""

from pathlib import Path

from pcbench.cases.conformance.case import Conformance, Parameters
from pcbench.runner import run_suites
from pcbench.suite import PlannedCase, Suite
from tests.helpers.plugged_in import plugged_in

# Rounding of networks with few units is simulated often, until it is sure: not so few here.
SMALL = {"depth": (2, 3), "width": (6, 8), "samples": (6, 7), "gain": (0.8, 1.2)}
QUESTIONS = {
    "evaluation": {"question": "evaluation", "draw": SMALL},
    "nonlinear": {"question": "evaluation", "draw": SMALL | {"layers": "smooth"}, "networks": 3},
    "masked": {"question": "evaluation", "draw": SMALL | {"observed": 0.7}},
    "inference": {"question": "inference", "draw": SMALL},
    # With one hidden layer its energy may be quadratic, and Gauss-Newton takes one step.
    "tanh": {
        "question": "inference",
        "draw": SMALL | {"layers": "smooth", "depth": (3, 4)},
        "networks": 3,
    },
    "masked-inference": {"question": "inference", "draw": SMALL | {"observed": 0.7}},
    "replicas": {"question": "replicas", "draw": SMALL},
    "hessian": {"question": "hessian", "draw": SMALL | {"layers": "smooth"}, "networks": 3},
    "unrolled": {"question": "unrolled_hessian", "draw": SMALL},
    "training": {"question": "training", "draw": SMALL, "networks": 2},
    "training-by-steps": {
        "question": "training",
        "draw": SMALL | {"layers": "smooth"},
        "networks": 4,
    },
    "masked-training": {
        "question": "training",
        "draw": SMALL | {"observed": 0.7},
        "networks": 1,
    },
    "conduct": {
        "question": "conduct",
        "draw": SMALL | {"depth": (4, 4), "width": (8, 10)},
    },
    "robustness": {"question": "robustness", "draw": SMALL},
    # What else suites ask of several networks, with masks or activations.
    "masked-conduct": {"question": "conduct", "draw": SMALL | {"observed": 0.7}},
    "masked-robustness": {
        "question": "robustness",
        "draw": SMALL | {"observed": 0.7, "layers": "nonlinear"},
        "networks": 5,
    },
    "masked-replicas": {
        "question": "replicas",
        "draw": SMALL | {"observed": 0.7, "layers": "smooth"},
        "networks": 3,
    },
}
# Longer ones, with tests of their own.
LONGER = {
    "settings": {"question": "settings", "draw": SMALL | {"samples": (3, 4)}},
    "settings-tanh": {
        "question": "settings",
        "draw": SMALL | {"layers": "smooth", "samples": (3, 4)},
    },
    # The second and the third network have rectifiers.
    "settings-kinks": {
        "question": "settings",
        "draw": SMALL | {"layers": "nonlinear", "samples": (3, 4)},
        "networks": 3,
    },
    "course": {
        "question": "course",
        "draw": SMALL | {"depth": (2, 2), "width": (3, 3), "samples": (4, 4)},
        "networks": 1,
    },
}


def ask(backend, question, dtype="float64", seed=0, **more):
    """Put one of the questions to a backend, and return the result of the case."""
    settings = {"networks": 2, **(QUESTIONS | LONGER)[question], **more}
    case = PlannedCase(
        id=question,
        kind="conformance",
        case=Conformance,
        parameters=Parameters.model_validate(settings),
        seed=seed,
        dtype=dtype,
        backend="asked",
        device="cpu",
    )
    with plugged_in({"asked": backend}):
        [result] = run_suites([Suite("questions", "", (case,), Path("questions.yaml"))]).cases
    return result


def failed(result):
    """Return the names of the checks that failed."""
    return {check.name for check in result.checks if not check.passed}


def kind(name):
    """Return what a check compares, whichever engine or learner it is about."""
    return (
        name.rpartition(": ")[2].partition(" (")[0] if not name.startswith("no samples") else name
    )
