"""Figures 9 and 10 of the paper: zero-rank saddles other than the origin, by Theorem 3 and beyond.

Wherever ``W_L = 0`` and ``W_{L-1:1} = 0``, the equilibrated energy has a strict saddle, and its
whole Hessian is known in closed form; the loss has a saddle there too, and often not a strict one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import scipy.sparse
from pydantic import Field, model_validator

from pcbench.case import Case, CaseParameters, CaseSkippedError, Context, Finding
from pcbench.contract import Capability
from pcbench.data import DataField
from pcbench.judges import saddle
from pcbench.judges.problem import LinearNetwork, Problem
from pcbench.networks import InitialisationField, PenultimateOnly, ZeroRank
from pcbench.theory.linear import equilibrium, saddles

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
    during: saddle.DuringParameters | None = Field(
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

    def needs(self) -> frozenset[str]:
        """Return what inference at a critical point and Hessians need."""
        through = {Capability.UNROLLED_HESSIAN} if self.parameters.during else set()
        return frozenset({Capability.EXACT_INFERENCE, Capability.HESSIAN}) | through

    def run(self, context: Context) -> Iterator[Finding]:
        """Check that the point is critical, then both Hessians there."""
        problem = Problem.pose(context, self.parameters.data, self.parameters.network)
        weights, x, y = problem.weights, problem.x, problem.y

        def during(steps: saddles.Steps) -> scipy.sparse.csr_array:
            rate = equilibrium.contraction_rate(weights, steps.step)
            if rate > 1:
                raise CaseSkippedError(
                    f"steps of {steps.step} diverge at this saddle, by {rate:.3g} each; write a "
                    "smaller during.step"
                )
            return saddles.zero_rank_hessian(weights, x, y, "energy", steps)

        theorem = saddle.Theorem(
            THEOREM_3,
            lambda objective: saddles.zero_rank_hessian(weights, x, y, objective),
            lambda objective: saddles.zero_rank_spectrum(weights, x, y, objective),
            lambda objective: saddles.zero_rank_ends(weights, x, y, objective),
            saddles.zero_rank_curvature_bound(weights, y),
            during,
        )
        yield from saddle.saddle_findings(context, problem, theorem, self.parameters.during)
