"""Whether the engine ``ode`` does as its settings say: time, tolerances, method.

The flow of a linear network draws together whatever is apart: what its steps are off by adds up at
most. Steps of a method of order ``p`` are as long as the ``(p + 1)``-th root of what they may be
off by, so that a lower order and a smaller tolerance take more of them.

In other networks the time is short: ``1/Λ``, in which what is apart grows by no more than ``e``. A
flow that meets no kink on the way is that of a linear network: its force only falls, and so it goes
no further than that of the start carries it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from pcbench import checks
from pcbench.cases.conformance.inference.steps import record
from pcbench.checks import Check
from pcbench.contract import BackendUnavailableError, OdeInference
from pcbench.judges.answers import NEVER, Array, InferenceResult, Subject
from pcbench.judges.basis import Basis
from pcbench.judges.inference import InferenceJudge
from pcbench.judges.reported import counted
from pcbench.theory.nonlinear.curvature import largest_curvatures
from pcbench.theory.nonlinear.inference_steps import flowed, room_to_kinks
from pcbench.theory.nonlinear.layered import Layered
from pcbench.theory.rounding.bounds import CONFIDENCE

FLOW = "dz/dt = -∂(N𝓕)/∂z from the feedforward activities (contract/inference.py)"
ORDER = "a step of order p is as long as the (p + 1)-th root of its tolerance (Hairer et al. II.4)"
# Time, in units of the inverse of the largest curvature: no method's stability is at stake.
_TIME = 3.0
# What a step may be off by, of the size of what flows: as little as a dtype can, and a lot.
_TIGHT = {"float64": 1e-8, "float32": 1e-5}
_LOOSE = 1e-2
_MANY_STEPS = 1_000
# Of what a step may be off by, and of its rounding, what an accepted step of dopri5 leaves behind:
# see force_kept; tests/cases/conformance/test_flow.py finds them from the method's coefficients.
CAUGHT, KEPT = 2.87, 2.55
# Steps are added up, and a last one that reaches beyond the time is interpolated, with as much.
_INTERPOLATED = 2.0


def force_kept(judge: InferenceJudge, most: float) -> float:
    """Bound ``‖∂(N𝓕)/∂z‖`` that a flow by dopri5 cannot get below, in a linear network.

    A step ``h`` takes what a component of curvature ``λ`` is off by, ``δ``, to ``R(z) δ``, ``z = h
    λ``, and estimates that it is off by ``E(z) δ``. It is accepted if that is no more than the
    tolerance ``τ``, root mean square. Where ``z ≥ 3``, an accepted step leaves at most ``τ
    max(1, |R|)/|E| ≤ 2.87 τ``, whether ``|R| > 1`` or not. Where ``½ ≤ z < 3``, ``|R| ≤ 0.607`` and
    of rounding ``η`` in every step ``η/(1 - 0.607) ≤ 2.55 η`` is kept at most; where ``z < ½``,
    ``1 - R ≥ 0.786 z``, the force ``λ δ`` is no more than ``η/(0.786 h)``, and that again no more
    than ``2.55 η λ_max`` for steps of ``h λ_max ≥ ½``. The least tolerance that an engine can keep
    to is the rounding of activities, ``2 u max|z|``, and ``η`` is half of that.
    """
    forward = judge.forward[1:]
    rounding = 2 * judge.u * max(float(np.nanmax(np.abs(z), initial=0.0)) for z in forward)
    units = sum(z.size for z in forward[:-1])
    return (CAUGHT + KEPT / 2) * rounding * most * float(np.sqrt(units))


def flow(subject: Subject, judge: InferenceJudge, curvature: float) -> Iterator[Check]:
    """Ask for two times, two tolerances of either sort, and for every method.

    In networks that are not linear, for two times alone. The curvature bounds that of every
    sample's energy, where it is no larger than where inference begins.
    """
    problem, dtype, forward = subject.problem, subject.backend.dtype, judge.forward
    if problem.network.convolutions:
        return
    most = float(largest_curvatures(judge.network, forward, problem.precision).max())
    units = sum(activities.size for activities in forward[1:-1])
    time = _TIME / most
    if not problem.network.is_linear:
        time = min(1 / max(most, curvature), _until_a_kink(judge.network, forward, judge.starts))
    if not time > 0:
        return
    # How far activities move in the time of the steepest curvature, root mean square.
    size = judge.start / most / float(np.sqrt(units))
    tight, medium, loose = _TIGHT[dtype] * size, 1e-3 * size, _LOOSE * size

    def asked(**settings: Any) -> OdeInference:
        return OdeInference(
            residual=NEVER, record=True, max_steps=_MANY_STEPS, **{"max_time": time} | settings
        )

    result: dict[str, InferenceResult] = {}
    questions = {
        "tight": asked(atol=tight),
        "half the time": asked(atol=tight, max_time=time / 2),
    }
    if problem.network.is_linear:
        questions |= {
            "loose": asked(atol=loose),
            "relative": asked(atol=tight, rtol=_LOOSE),
            "dopri5": asked(atol=medium),
            "bosh3": asked(atol=medium, method="bosh3"),
            "adaptive_heun": asked(atol=medium, method="adaptive_heun"),
        }
    for what, settings in questions.items():
        try:
            result[what] = subject.infer(settings)
        except BackendUnavailableError:  # a library may lack a method
            continue
        form = judge.form("ode", result[what])
        yield form
        if not form.passed:
            return
        yield from record(judge, "ode", result[what], settings)
        if settings.atol == tight and not settings.rtol:
            yield _arrived(judge, result[what], settings, most).at(what)
    yield from _in_order("steps by tolerance", result, "loose", "tight")
    yield from _in_order("steps by relative tolerance", result, "relative", "tight")
    for lower, higher in (("bosh3", "dopri5"), ("adaptive_heun", "bosh3")):
        yield from _in_order("steps by method", result, higher, lower)


def _arrived(
    judge: InferenceJudge, result: InferenceResult, settings: OdeInference, most: float
) -> Check:
    """Compare activities at the time given with those of the flow itself.

    Each step may be off by its tolerance, root mean square over units. Rounding is that of every
    step, of activities of this size, and of slopes, which targets and inputs enter, too.
    """
    problem = judge.problem
    due = flowed(judge.network, problem.x, problem.y, settings.max_time, problem.precision)
    assert settings.atol is not None  # for the type checker
    off = (result.steps + _INTERPOLATED) * settings.atol * float(np.sqrt(due.size))
    lengths = settings.max_time * most + result.steps
    slopes = max(judge.forward_rounding.residual, judge.rounding(result).residual)
    rounding = CONFIDENCE * judge.u * lengths * float(np.linalg.norm(due))
    rounding += settings.max_time * slopes
    growth = 1.0 if problem.network.is_linear else float(np.e)
    return Basis(FLOW, "what every step may be off by, and its rounding").distance(
        "ode: activities at the time given", result.hidden, due, growth * (off + rounding)
    )


def _until_a_kink(
    network: Layered, forward: Sequence[Array], starts: Float[np.ndarray, " N"]
) -> float:
    """Return a time in which no sample's flow comes more than half of the way to a kink."""
    pulled = max(float(starts.max()), float(np.finfo(float).tiny))
    return room_to_kinks(network, forward) / (2 * pulled)


def _in_order(
    name: str, result: dict[str, InferenceResult], fewer: str, more: str
) -> Iterator[Check]:
    """Check that one way takes fewer steps than another, where both could be had."""
    if fewer in result and more in result:
        yield checks.below(
            f"ode: {name}",
            result[fewer].steps,
            result[more].steps,
            counted("steps"),
            source=ORDER,
            where=f"{fewer} against {more}",
        )
