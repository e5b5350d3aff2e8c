"""Every check that has a tolerance fails for a fault two tolerances large, in what it reads."""

from dataclasses import replace
from functools import cache

import pytest
from pydantic import TypeAdapter

from pcbench.backends.torch import TorchBackend
from pcbench.registry import CASES
from pcbench.suite import PlannedCase
from tests.cases.shifted_answers import Shift, checks_of

pytestmark = pytest.mark.usefixtures("without_shapes")

TOY = {"name": "toy_gaussian", "dimension": 2, "samples": 4}
TWO = {"hidden_layers": 2, "width": 4}
LINE = {"hidden_layers": 1, "width": 2}
LAW = {"data": {**TOY, "dimension": 3, "samples": 16}, "training": {"max_steps": 2000}}
SADDLE = {"widths": [4, 4, 4], "initialisation": "penultimate_only"}
GRADIENT = {"engine": "gradient", "step": 0.1, "max_steps": 20000, "residual": 1e-4}
PATHS = {"starts": 1, "steps": 1, "batch": 2}
ONE_STEP = {"data": {**TOY, "samples": 16}, "network": TWO, "training": {"steps": 1, "batch": 16}}
LARGEST = 3
"""How many tolerances outside still count as about one: counts and steps come in whole ones."""
PROBLEMS = {
    "law": ("escape_law", {**LAW, "network": TWO}),
    "law of one hidden layer": ("escape_law", {**LAW, "network": {**TWO, "hidden_layers": 1}}),
    "slice": ("landscape", {"data": TOY, "network": LINE, "points": 3, "paths": PATHS}),
    "slice of the loss": (
        "landscape",
        {"data": TOY, "network": LINE, "points": 3, "curvature_of": "loss"},
    ),
    "spectrum": (
        "hessian_spectrum",
        {
            "data": TOY,
            "network": {"widths": [3, 3], "activation": "tanh"},
            "probes": 2,
            "density_steps": 10,
        },
    ),
    "training": ("equilibrated_energy", ONE_STEP),
    "training by steps": ("equilibrated_energy", {**ONE_STEP, "inference": GRADIENT}),
    "origin": ("origin_hessian", {"data": TOY, "network": {"widths": [10]}}),
    "deep origin": ("origin_hessian", {"data": TOY, "network": {"widths": [5, 5]}}),
    "saddle": ("zero_rank_saddle", {"data": {**TOY, "dimension": 3}, "network": SADDLE}),
    "zero rank": (
        "zero_rank_saddle",
        {"data": {**TOY, "dimension": 3}, "network": {**SADDLE, "initialisation": "zero_rank"}},
    ),
    "origin by gradients": (
        "origin_curvature",
        {"data": TOY, "network": {"widths": [3, 3], "activation": "tanh"}, "directions": 1},
    ),
    "engines": (
        "inference_cost",
        {
            "data": TOY,
            "network": TWO,
            "engines": {
                "exact": {"engine": "exact"},
                "gauss-newton": {"engine": "gauss_newton"},
                "gradient": {"engine": "gradient", "step": 0.2, "max_steps": 3000},
            },
        },
    ),
    "equilibria": (
        "equilibrium",
        {
            "data": TOY,
            "network": TWO,
            "observed": 0.7,
            "engines": {
                "exact": {"engine": "exact"},
                "gauss-newton": {"engine": "gauss_newton", "residual": 1e-8},
            },
        },
    ),
    "search": (
        "critical_points",
        {"widths": [3, 2, 3], "starts": 8, "arrivals": 0.3, "iterations": 100},
    ),
}


# What a check reads, by its name or by what stands behind the engine in it, whatever the case.
READ_EVERYWHERE = {
    "malformed answers": Shift("infer.energies", "shape"),
    "clamped input": Shift("infer.input"),
    "clamped output": Shift("infer.output"),
    "energy of each layer": Shift("infer.energies"),
    "energy ≤ loss": Shift("infer.energies", "scale", by=1.0),
    "reported residual": Shift("infer.residual"),
    "residual of each sample": Shift("infer.activities"),
    "residual within the budget": Shift("infer.activities"),
    "hidden residual": Shift("infer.activities"),
    "converged as reported": Shift("infer.converged", "flip"),
    "steps": Shift("infer.steps", by=-10.0),
    "steps of inference": Shift("infer.steps", by=-10.0),
    "ends of the path": Shift("infer.path"),
    "rise of the energy in a step": Shift("infer.path", "last", by=10.0),
    "energy at equilibrium": Shift("infer.energies"),
    "energy": Shift("infer.energies"),
    "loss": Shift("loss"),
    "prediction": Shift("predict"),
    "local gradients": Shift("energy_gradients"),
    "weight gradients": Shift("energy_gradients"),
    "gradients of the loss": Shift("loss_gradients"),
    "gradient of the loss": Shift("loss_gradients"),
    "gradient of the energy": Shift("energy_gradients"),
    "critical point of the loss": Shift("loss_gradients"),
    "critical point of the energy": Shift("energy_gradients"),
    "Hessian entries of the loss": Shift("loss_hessian"),
    "Hessian entries of the energy": Shift("energy_hessian"),
    "Hessian spectrum of the loss": Shift("loss_hessian"),
    "Hessian spectrum of the energy": Shift("energy_hessian"),
    "strict saddle of the loss": Shift("loss_hessian", "scale", by=-1.0),
    "strict saddle of the energy": Shift("energy_hessian", "scale", by=-1.0),
    "no strict saddle of the loss": Shift("loss_hessian", by=-1e-12),
    "least curvature of the energy": Shift("energy_hessian", "scale", by=-0.1),
}
# The same of one kind; checks that come after others are reached by calls that come after theirs.
READ = {
    "escape_law": {
        "BP: steps until the loss falls": Shift("rate", "scale", by=0.05),
        "PC: steps until the loss falls": Shift("rate", "scale", by=0.05),
        "PC: steps until the energy falls": Shift("rate", "scale", by=0.05),
        "BP: steps of the loss per e-fold of 1/σ": Shift("rate", "scale", by=0.05),
        "PC: steps of the loss per e-fold of 1/σ": Shift("rate", "scale", by=0.05),
        "PC: steps of the energy per e-fold of 1/σ": Shift("rate", "scale", by=0.05),
        "BP: power of 1/σ": Shift("rate", "tilt", by=-0.2),
        "PC: power of ln(1/σ)": Shift("rate", "tilt", by=0.05),
    },
    "landscape": {
        "inference: malformed answers": Shift("loss_gradients", "shape"),
        "Hessian of the loss: malformed answers": Shift("loss_hessian", "shape"),
        "Hessian of the energy: malformed answers": Shift("energy_hessian", "shape"),
        "slope of the loss along u": Shift("loss_gradients"),
        "slope of the loss along v": Shift("loss_gradients"),
        "slope of the energy along u": Shift("energy_gradients", "scale", by=1e-8),
        "slope of the energy along v": Shift("energy_gradients", "scale", by=1e-8),
        "curvature of the loss along u": Shift("loss_hessian", after=1),
        "curvature of the loss along v": Shift("loss_hessian", after=1),
        "mixed curvature of the loss": Shift("loss_hessian", "corner", after=1),
        "curvature of the energy along u": Shift("energy_hessian", after=4),
        "curvature of the energy along v": Shift("energy_hessian", after=4),
        "mixed curvature of the energy": Shift("energy_hessian", "corner", after=4),
        "eigenvector of the least curvature of the loss": Shift("loss_hessian", after=2),
        "eigenvector of the largest curvature of the loss": Shift("loss_hessian", after=3),
        "eigenvector of the least curvature of the energy": Shift("energy_hessian", after=2),
        "eigenvector of the largest curvature of the energy": Shift("energy_hessian", after=3),
        "steps on the loss": Shift("loss_gradients", after=6),
        "steps on the energy": Shift("energy_gradients", after=9),
    },
    "hessian_spectrum": {
        "Hessian products of the loss": Shift("loss_hessian"),
        "Hessian products of the energy": Shift("energy_hessian"),
        "symmetric Hessian of the loss": Shift("loss_hessian", "corner"),
        "symmetric Hessian of the energy": Shift("energy_hessian", "corner"),
        "extreme eigenpairs of the loss": Shift("loss_hessian", after=1),
        "extreme eigenpairs of the energy": Shift("energy_hessian", after=1),
        "least eigenvalue of the loss": Shift("loss_hessian", "scale", after=20),
        "largest eigenvalue of the loss": Shift("loss_hessian", "scale", after=20),
        "least eigenvalue of the energy": Shift("energy_hessian", "scale", after=20),
        "largest eigenvalue of the energy": Shift("energy_hessian", "scale", after=20),
        "inner systems solved": Shift("energy_hessian.residual"),
    },
    "equilibrated_energy": {
        "malformed answers": Shift("loss", "shape"),
        "energy of each layer": Shift("energies"),
        "energy ≥ loss/λ_max(S)": Shift("infer.energies", "scale", by=-0.9),
    },
    "origin_curvature": {
        "curvature times a direction": Shift("energy_gradients", "scale"),
        "curvature along the steepest direction": Shift("energy_gradients", "scale"),
        "strict saddle of the energy": Shift("energy_gradients", "scale", by=-1.0),
    },
    "equilibrium": {
        "number of gradients": Shift("energy_gradients", "drop"),
    },
    "critical_points": {
        "gradient of the energy": Shift("energy_gradients"),
        "energy of a critical point": Shift("energies"),
        "Lemma A: loss equals energy": Shift("loss"),
        "curvature along the certificate": Shift("energy_hessian", "scale"),
        "curvature along a random direction": Shift("energy_hessian", "scale"),
        "Lemma A: slope along a scaling of two layers": Shift("energy_gradients", "scale"),
        "Lemma B: predicted curvature": Shift("energy_hessian", "scale"),
        "Lemma D: predicted curvature": Shift("energy_hessian", "scale", by=-1e-9),
        "Lemma A: force of the output on a layer": Shift("infer.activities"),
    },
}

# Checks that this table cannot reach, by kind and, behind an engine's name, by what they check.
UNREACHED = {
    ("escape_law", "BP: power of 1/σ at the smallest scales"): (
        "an interval that holds the bound leaves the law open before it is on the other side: "
        "test_escape_law.py"
    ),
    ("escape_law", "PC: power of 1/σ at the smallest scales"): "likewise",
    ("hessian_spectrum", "different eigenvectors of the loss"): (
        "vectors of the judge's own iteration, not answers: test_cases_catch_hessian_faults.py"
    ),
    ("hessian_spectrum", "different eigenvectors of the energy"): "likewise",
    ("hessian_spectrum", "distribution of the loss within its band"): (
        "test_cases_catch_hessian_faults.py"
    ),
    ("hessian_spectrum", "distribution of the energy within its band"): (
        "test_cases_catch_hessian_faults.py"
    ),
    ("equilibrated_energy", "residual within the budget"): (
        "its bound is held to one rounding, and activities cannot be wrong by so little: "
        "test_cases_catch_faults.py"
    ),
    ("inference_cost", "residual within the budget"): "likewise: test_cases_catch_engine_faults.py",
    ("inference_cost", "activities"): (
        "made only where both engines have passed by themselves: test_agreement.py"
    ),
    ("inference_cost", "energy"): "likewise",
    ("equilibrium", "activities"): "likewise",
    ("equilibrium", "energy"): "likewise",
    ("inference_cost", "rise of the energy of a sample"): "test_cases_catch_engine_faults.py",
    ("equilibrium", "rise of the energy of a sample"): "test_cases_catch_engine_faults.py",
    ("equilibrium", "weight gradients along a direction"): "test_cases_catch_engine_faults.py",
    (
        "critical_points",
        "share of starts that arrive",
    ): "test_critical_points.py",
    ("critical_points", "candidates for non-strict saddles"): "test_critical_points.py",
}
UNREACHED_KINDS = {
    "conformance": "its questions go through the audit's catalogue, fault by fault",
    "matrix_completion": "test_matrix_completion.py",
    "origin_escape": "test_origin_escape.py",
}
SLOW = {"law", "slice", "slice of the loss", "spectrum", "search", "engines"}


@cache
def planned(problem):
    kind, asked = PROBLEMS[problem]
    case = CASES.load(kind)
    parameters = TypeAdapter(case.Parameters).validate_python(asked)
    return PlannedCase(problem, kind, case, parameters, 0, "float64", "torch", "cpu")


@cache
def right(problem):
    return checks_of(planned(problem), TorchBackend())


def margin(check, right):
    """How far inside a check is, in tolerances: its own or the right run's, the larger."""
    return check.margin * check.tolerance / max(check.tolerance, right.tolerance)


def found(problem, name, shift, tries=12):
    """Find the fault that takes a check two tolerances from where it must be, and return it.

    A check says how far inside it is; the fault is made larger or smaller, by secants, until
    what it reads is about one tolerance outside. Where a smaller fault moves nothing, the next is
    half-way to the one that failed by far, and the secant goes through two of these.
    """
    due = right(problem)[name]
    by = shift.by or due.tolerance * (1 + due.margin)
    last, seen, far = 0.0, due.margin, []
    for _ in range(tries):
        wrong = checks_of(planned(problem), TorchBackend(), replace(shift, by=by)).get(name)
        assert wrong is not None, f"{name}: is not made any more at {by:.3g}"
        assert wrong.margin is not None, f"{name}: {wrong.message}"
        now = margin(wrong, due)
        if wrong.status == "failed" and now >= -LARGEST:
            return by
        if now < -LARGEST:
            far.append((by, now))
        if now == due.margin:
            by = (by + far[-1][0]) / 2 if far else 10 * by
            continue
        if len(far) > 1 and far[-1][0] == by:
            last, seen = far[-2]
        step = (-1 - now) * (by - last) / (now - seen)
        last, seen, by = by, now, by + max(-0.9 * abs(by), min(step, 100 * abs(by)))
    raise AssertionError(f"{name}: passes, or fails by far, at {last:.3g}: margin {seen:.3g}")


def what(name):
    """Return what a check is about, whichever engine it is made of."""
    return name.rpartition(": ")[2]


def read_by(kind, name):
    """Return what is to be wrong for a check to fail; ``None`` if that is not known."""
    own = READ.get(kind, {})
    return own.get(name) or own.get(what(name)) or READ_EVERYWHERE.get(what(name))


def unreached(kind, name):
    return (kind, name) in UNREACHED or (kind, what(name)) in UNREACHED


def walked(problem):
    """Return the checks with a tolerance that no problem before this one has of its kind."""
    kind, _ = PROBLEMS[problem]
    names = {name: None for name, check in right(problem).items() if check.tolerance}
    for other, (same, _) in PROBLEMS.items():
        if other == problem:
            break
        if same == kind:
            names = {name: None for name in names if name not in right(other)}
    return list(names)


def per_problem():
    return [
        pytest.param(problem, marks=[pytest.mark.slow] if problem in SLOW else [])
        for problem in PROBLEMS
    ]


def test_every_kind_is_walked_or_it_is_said_why_not():
    kinds = {kind for kind, _ in PROBLEMS.values()}
    assert kinds | set(UNREACHED_KINDS) == set(CASES.names())
    assert not kinds & set(UNREACHED_KINDS)


@pytest.mark.parametrize("problem", PROBLEMS)
def test_what_every_check_with_a_tolerance_reads_is_known(problem):
    kind, _ = PROBLEMS[problem]
    assert all(check.passed for check in right(problem).values())
    unknown = [
        name for name in walked(problem) if not (read_by(kind, name) or unreached(kind, name))
    ]
    assert unknown == []


@pytest.mark.parametrize("problem", per_problem())
def test_a_fault_of_two_tolerances_fails_its_check(problem):
    kind, _ = PROBLEMS[problem]
    for name in walked(problem):
        if not unreached(kind, name):
            found(problem, name, read_by(kind, name))


def test_escape_times_that_are_a_tenth_off_fail():
    for name in walked("law of one hidden layer"):
        if "steps" in name:
            by = found("law of one hidden layer", name, read_by("escape_law", name))
            assert abs(by) < 0.1
