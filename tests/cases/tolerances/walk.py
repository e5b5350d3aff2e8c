"""How every check with a tolerance is failed by a fault two tolerances large, in what it reads."""

import re
from dataclasses import replace
from functools import cache
from itertools import product, takewhile
from typing import NamedTuple

from pydantic import TypeAdapter

from pcbench.backends.torch import TorchBackend
from pcbench.registry import CASES
from pcbench.suite import PlannedCase
from tests.cases.tolerances import conformance, escapes, networks
from tests.cases.tolerances.shifted_answers import NOTHING, Shift, checks_of

LARGEST = 3
"""How many tolerances outside still count as about one: counts and steps come in whole ones."""


class Problem(NamedTuple):
    """A case on a small network.

    Attributes
    ----------
    kind, asked
        Of the case, and its parameters.
    engines
        Of inference that the backend offers; ``None`` for all.
    dtype
        Of the backend.
    again
        What is walked although another problem has it too, for it is another thing here.
    """

    kind: str
    asked: dict
    engines: tuple[str, ...] | None = None
    dtype: str = "float64"
    again: tuple[str, ...] = ()


TABLES = [networks, conformance, escapes]
PROBLEMS = {name: Problem(*asked) for table in TABLES for name, asked in table.PROBLEMS.items()}
READ = {name: read for table in TABLES for name, read in table.READ.items()}
UNREACHED = {name: why for table in TABLES for name, why in table.UNREACHED.items()}
SLOW = {name for table in TABLES for name in table.SLOW}

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
    "rise of the energy of a sample": Shift("infer.activities", by=1.0),
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


@cache
def answered(problem, shift):
    """Return the checks of a problem, by name, with an answer shifted."""
    kind, asked, engines, dtype, _ = PROBLEMS[problem]
    case = CASES.load(kind)
    parameters = TypeAdapter(case.Parameters).validate_python(asked)
    planned = PlannedCase(problem, kind, case, parameters, 0, dtype, "torch", "cpu")
    return checks_of(planned, TorchBackend(dtype=dtype), shift, engines)


def right(problem):
    """Return the checks of a correct backend."""
    return answered(problem, NOTHING)


def margin(check, right):
    """How far inside a check is, in tolerances: its own or the right run's, the larger.

    Where comparisons of two sorts go by one name, the right run's may be of the other.
    """
    if check.relation != right.relation:
        return check.margin
    return check.margin * check.tolerance / max(check.tolerance, right.tolerance)


def found(problem, name, shift, tries=12):
    """Find the fault that takes a check two tolerances from where it must be, and return it.

    A check says how far inside it is; the fault is made larger or smaller, by secants, until
    what it reads is about one tolerance outside. Where a smaller fault moves nothing, the next is
    half-way to the one that failed by far, and the secant goes through two of these. One that
    takes a check further inside is turned round.
    """
    due = right(problem)[name]
    by = shift.by or due.tolerance * (1 + due.margin)
    last, seen, far = 0.0, due.margin, []
    for _ in range(tries):
        wrong = answered(problem, replace(shift, by=by)).get(name)
        assert wrong is not None, f"{name}: is not made any more at {by:.3g}"
        assert wrong.margin is not None, f"{name}: {wrong.message}"
        now = margin(wrong, due)
        if wrong.status == "failed" and now >= -LARGEST:
            return by
        if now < -LARGEST:
            far.append((by, now))
        if now > due.margin:  # what it reads was off the other way
            by = -by
            continue
        if now == due.margin:
            by = (by + far[-1][0]) / 2 if far else 10 * by
            continue
        if len(far) > 1 and far[-1][0] == by:
            last, seen = far[-2]
        step = (-1 - now) * (by - last) / (now - seen)
        last, seen, by = by, now, by + max(-0.9 * abs(by), min(step, 100 * abs(by)))
    raise AssertionError(f"{name}: passes, or fails by far, at {last:.3g}: margin {seen:.3g}")


def what(name):
    """Return what a check is about, whichever engine it is made of, or learner."""
    return re.sub(r" \((BP|PC)\b[^()]*\)$", "", name).rpartition(": ")[2]


def read_by(problem, name):
    """Return what is to be wrong for a check to fail; ``None`` if that is not known."""
    for table in (READ.get(problem, {}), READ.get(PROBLEMS[problem].kind, {}), READ_EVERYWHERE):
        if shift := table.get(name) or table.get(what(name)):
            return shift
    return None


def unreached(problem, name):
    """Say why a check cannot be reached; ``None`` if it can."""
    names, owners = (name, what(name)), (problem, PROBLEMS[problem].kind)
    return next((UNREACHED[place] for place in product(owners, names) if place in UNREACHED), None)


def walked(problem):
    """Return the checks with a tolerance that no problem before this one has of its kind."""
    kind, again = PROBLEMS[problem].kind, PROBLEMS[problem].again
    before = takewhile(lambda other: other != problem, PROBLEMS)
    known = {name for other in before if PROBLEMS[other].kind == kind for name in right(other)}
    return [
        name
        for name, check in right(problem).items()
        if check.tolerance and (name not in known or what(name) in again)
    ]
