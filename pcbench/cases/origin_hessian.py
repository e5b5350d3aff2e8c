"""Figures 3, 4 and 8 of the paper: the Hessians at the origin, entry by entry, by Theorem 2.

The origin is a strict saddle of the equilibrated energy at any depth; of the loss only with one
hidden layer.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, get_args

from pydantic import model_validator

from pcbench import theory
from pcbench.backends import Capability, Objective
from pcbench.cases._hessian import ClosedForms, examine
from pcbench.cases._problem import LinearNetwork, Problem
from pcbench.cases.base import Case, CaseParameters, Context, Finding
from pcbench.data import DataField
from pcbench.networks import InitialisationField, Origin

THEOREM_2 = "Theorem 2 (theory.md 2.4)"


class OriginNetwork(LinearNetwork):
    """A linear network with at least one hidden layer and all weights zero."""

    initialisation: InitialisationField = Origin()

    @model_validator(mode="after")
    def _is_at_the_origin(self) -> OriginNetwork:
        if not isinstance(self.initialisation, Origin):
            raise ValueError("this kind is about the origin; leave initialisation out")
        if not self.hidden:
            raise ValueError("Theorem 2 is about networks with at least one hidden layer")
        return self


class Parameters(CaseParameters):
    """What a suite may write under ``kind: origin_hessian``."""

    data: DataField
    network: OriginNetwork


class OriginHessian(Case[Parameters]):
    """Whole Hessians of loss and energy at the origin against Theorem 2."""

    kind: ClassVar[str] = "origin_hessian"
    description: ClassVar[str] = (
        "the whole Hessians of loss and equilibrated energy at the origin, their spectra and "
        "strictness, against Theorem 2 (figures 3, 4, 8)"
    )
    Parameters: ClassVar[type[CaseParameters]] = Parameters

    def needs(self) -> frozenset[Capability]:
        """Return what inference at a critical point and Hessian products need."""
        return frozenset({Capability.EXACT_INFERENCE, Capability.HESSIAN})

    def run(self, context: Context) -> Iterator[Finding]:
        """Check that the origin is critical, then both Hessians there."""
        problem = Problem.pose(context, self.parameters.data, self.parameters.network)
        widths, x, y = problem.network.widths, problem.x, problem.y
        forms: dict[Objective, ClosedForms] = {
            objective: ClosedForms(
                theory.origin_hessian(widths, x, y, objective),
                theory.origin_spectrum(widths, x, y, objective),
                # At the origin M of theory.md 2.5 is the identity.
                theory.zero_rank_curvature_bound(problem.weights, y)
                if objective == "energy"
                else None,
            )
            for objective in get_args(Objective)
        }
        yield from examine(context, problem, THEOREM_2, forms)
