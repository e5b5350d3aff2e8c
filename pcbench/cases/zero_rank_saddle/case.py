"""Figures 9 and 10 of the paper: zero-rank saddles other than the origin, by Theorem 3 and beyond.

Wherever ``W_L = 0`` and ``W_{L-1:1} = 0``, the equilibrated energy has a strict saddle, and its
whole Hessian is known in closed form; the loss has a saddle there too, and often not a strict one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, get_args

from pydantic import Field, model_validator

from pcbench.case import Case, CaseParameters, CaseSkippedError, Context, Finding, Omission
from pcbench.contract import Capability, Objective
from pcbench.data import DataField
from pcbench.judges.hessian.during import DuringParameters
from pcbench.judges.hessian.extremes import ClosedEnds, examine_ends
from pcbench.judges.hessian.hessian import MAX_PARAMETERS, ClosedForms, DuringInference, examine
from pcbench.judges.problem import LinearNetwork, Problem
from pcbench.networks import InitialisationField, PenultimateOnly, ZeroRank
from pcbench.theory.linear.activities import contraction_rate
from pcbench.theory.linear.saddles import (
    zero_rank_curvature_bound,
    zero_rank_ends,
    zero_rank_hessian,
    zero_rank_spectrum,
)

THEOREM_3 = "Theorem 3 and its whole Hessian (theory.md 2.5)"


class SaddleNetwork(LinearNetwork):
    """A linear network at a zero-rank saddle."""

    initialisation: InitialisationField = PenultimateOnly()

    @model_validator(mode="after")
    def _is_at_a_saddle(self) -> SaddleNetwork:
        if not isinstance(self.initialisation, PenultimateOnly | ZeroRank):
            raise ValueError(
                f"{self.initialisation.name} is no zero-rank saddle; initialisation is "
                "penultimate_only or zero_rank here"
            )
        return self


class Parameters(CaseParameters):
    """What a suite may write under ``kind: zero_rank_saddle``."""

    data: DataField
    network: SaddleNetwork
    during: DuringParameters | None = Field(
        None, description="Also look at the Hessian during inference; for small networks."
    )


class ZeroRankSaddle(Case[Parameters]):
    """Whole Hessians of loss and energy at a zero-rank saddle against theory.md 2.5."""

    kind: ClassVar[str] = "zero_rank_saddle"
    description: ClassVar[str] = (
        "the Hessians of loss and equilibrated energy at a zero-rank saddle, compared "
        "with Theorem 3 and its extension entry by entry, or by their extreme eigenvalues where "
        "they are large (figures 9, 10)"
    )
    Parameters: ClassVar[type[CaseParameters]] = Parameters

    def needs(self) -> frozenset[Capability]:
        """Return what inference at a critical point and Hessians need."""
        through = {Capability.UNROLLED_HESSIAN} if self.parameters.during else set()
        return frozenset({Capability.EXACT_INFERENCE, Capability.HESSIAN}) | through

    def run(self, context: Context) -> Iterator[Finding]:
        """Check that the point is critical, then both Hessians there."""
        problem = Problem.pose(context, self.parameters.data, self.parameters.network)
        weights, x, y = problem.weights, problem.x, problem.y
        bounds = {"loss": None, "energy": zero_rank_curvature_bound(weights, y)}
        if problem.network.n_parameters > MAX_PARAMETERS:
            if self.parameters.during is not None:
                yield Omission(
                    "Hessians during inference",
                    f"they are whole, of up to {MAX_PARAMETERS:,} parameters, and this network "
                    f"has {problem.network.n_parameters:,}; give fewer units",
                )
            ends: dict[Objective, ClosedEnds] = {
                objective: ClosedEnds(*zero_rank_ends(weights, x, y, objective), bounds[objective])
                for objective in get_args(Objective)
            }
            yield from examine_ends(context, problem, THEOREM_3, ends)
            return
        forms: dict[Objective, ClosedForms] = {
            objective: ClosedForms(
                zero_rank_hessian(weights, x, y, objective),
                zero_rank_spectrum(weights, x, y, objective),
                bounds[objective],
            )
            for objective in get_args(Objective)
        }
        yield from examine(context, problem, THEOREM_3, forms, self._during(problem))

    def _during(self, problem: Problem) -> list[DuringInference]:
        found: list[DuringInference] = []
        if self.parameters.during is None:
            return found
        rate = contraction_rate(problem.weights, self.parameters.during.step)
        if rate > 1:
            raise CaseSkippedError(
                f"steps of {self.parameters.during.step} diverge at this saddle, by {rate:.3g} "
                "each; write a smaller during.step"
            )
        for steps in self.parameters.during.all:
            hessian = zero_rank_hessian(problem.weights, problem.x, problem.y, "energy", steps)
            found.append(DuringInference(steps, hessian))
        return found
