"""Whether a linearisation of Gauss-Newton serves as many steps as its setting ``reuse`` says.

As many steps are those of a single linearisation; the next one is not, where the network has bent
on the way.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from jaxtyping import Bool

from pcbench import checks
from pcbench.cases.conformance.inference.batch import newton_condition, newton_rounding
from pcbench.checks import Check
from pcbench.contract import GaussNewtonInference
from pcbench.judges.agreement import is_smooth
from pcbench.judges.answers import NEVER, Array, InferenceResult, Subject
from pcbench.judges.basis import Basis
from pcbench.judges.inference import InferenceJudge
from pcbench.theory.nonlinear.layered import feedforward, layered_errors
from pcbench.theory.rounding.bounds import unit_roundoff

REUSE = "steps that each linearisation serves (contract/inference.py)"
_MOST = 2
# By how much more than rounding the next step must be another, for the question to be asked.
_CLEAR = 1e3
# Of differences of first order in float64.
_H = unit_roundoff("float64") ** (1 / 3)


def reuse(subject: Subject, judge: InferenceJudge, curvature: float) -> Iterator[Check]:
    """Ask for one step and for two with a linearisation, and for the one after.

    Parameters
    ----------
    subject, judge
        The backend with its problem, and the judge of that problem.
    curvature
        No sample's energy is more curved, where it is no larger than where inference begins.
    """
    if not is_smooth(subject.problem.network):
        return  # between kinks a network does not bend

    def after(steps: int, serves: int) -> InferenceResult:
        settings = GaussNewtonInference(residual=NEVER, max_steps=steps, reuse=serves)
        return subject.infer(settings)

    served = [after(steps, _MOST + 1) for steps in range(1, _MOST + 2)]
    form = [judge.form("gauss_newton", one) for one in served]
    yield from form
    if not checks.all_passed(form):
        return
    condition = newton_condition(judge, curvature)
    solving = Basis(REUSE, "what solving systems of this condition rounds (theory.md 3.3)")
    repeated = Basis(REUSE, "what rounding makes of the same step (theory.md 3.3)")
    for steps in range(1, _MOST + 1):
        last, onward = served[steps - 1], served[steps]
        off = newton_rounding(judge, curvature, steps + 1)
        name = f"gauss_newton: steps of a linearisation that serves {steps}"
        yield solving.distance(name, after(steps, steps).hidden, last.hidden, off)
        taken = _taken(judge, served[: steps + 1])
        if np.linalg.norm(_bent(judge, last, onward)[taken]) > _CLEAR * condition * off:
            yield repeated.at_least(
                f"gauss_newton: how far the step after {steps} with a new linearisation is from "
                "that with the old one",
                float(np.linalg.norm(after(steps + 1, steps).hidden - onward.hidden)),
                2 * off,
                off,
            )


def _taken(judge: InferenceJudge, served: Sequence[InferenceResult]) -> Bool[np.ndarray, " N"]:
    """Return which samples took every step: one that was refused may be linearised anew."""
    start = np.concatenate(judge.forward[1:-1], axis=1)
    places = [start, *(result.hidden for result in served)]
    norms = [
        (np.linalg.norm(after - before, axis=1), np.linalg.norm(after, axis=1))
        for before, after in pairwise(places)
    ]
    taken: Bool[np.ndarray, " N"] = np.all(
        [step > np.sqrt(judge.u) * size for step, size in norms], axis=0
    )
    return taken


def _bent(judge: InferenceJudge, last: InferenceResult, onward: InferenceResult) -> Array:
    """``(B - B_0) s`` for the step ``s`` from where inference was: what was linearised wrongly.

    ``B`` is the derivative of the errors, here and where inference began.
    """
    here, there = judge.clamped(last), judge.clamped(onward)
    step = [after - before for after, before in zip(there[1:-1], here[1:-1], strict=True)]
    start = feedforward(judge.network, here[0])
    slopes = [_moved(judge, at, step) for at in (here, start)]
    bent: Array = slopes[0] - slopes[1]
    return bent


def _moved(judge: InferenceJudge, at: Sequence[Array], step: Sequence[Array]) -> Array:
    """``B s``, by differences."""
    ends = [
        layered_errors(
            judge.network,
            [at[0], *(z + h * s for z, s in zip(at[1:-1], step, strict=True)), 0 * at[-1]],
        )
        for h in (_H, -_H)
    ]
    rows = [(up - down) / (2 * _H) for up, down in zip(*ends, strict=True)]
    moved: Array = np.nan_to_num(np.concatenate(rows, axis=1))
    return moved
