"""Figures 3, 4 and 8 of the paper: the Hessians at the origin, entry by entry, by Theorem 2.

The origin is a strict saddle of the equilibrated energy at any depth; of the loss only with one
hidden layer. The same holds of non-linear networks with ``φ(0) = 0`` (theory.md 3.2). Where the
Hessian is too large to be written down, the ends of its spectrum are compared.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar

import numpy as np
import scipy.sparse
from jaxtyping import Float
from pydantic import BeforeValidator, Field, model_validator

from pcbench.case import Case, CaseParameters, Context, Finding
from pcbench.contract import Capability, Objective
from pcbench.data import DataField
from pcbench.judges import saddle
from pcbench.judges.answers import needs
from pcbench.judges.problem import Problem
from pcbench.networks import InitialisationField, NetworkParameters, Origin
from pcbench.networks.activations import ActivationName, activation
from pcbench.theory.linear import saddles

THEOREM_2 = "Theorem 2 (theory.md 2.4)"
NON_LINEAR = "the origin of a non-linear network (theory.md 3.2)"


class OriginNetwork(NetworkParameters):
    """A network with at least one hidden layer and all weights zero."""

    activation: Annotated[ActivationName, BeforeValidator(saddle.refuse_sigmoid)] = "identity"
    initialisation: InitialisationField = Origin()

    @model_validator(mode="after")
    def _is_at_the_origin(self) -> OriginNetwork:
        if not isinstance(self.initialisation, Origin):
            raise ValueError("this kind is about the origin; leave initialisation out")
        if not self.hidden or self.convolutions or self.bias:
            raise ValueError(
                "Theorem 2 is about fully connected networks without biases, with at least one "
                "hidden layer"
            )
        if activation(self.activation).smooth:
            return self
        if self.convention == "pre":
            raise ValueError(
                f"{self.activation} has no second derivative at the origin in the pre convention; "
                "kind: origin_curvature looks at one side of it"
            )
        if len(self.hidden) < 2:
            raise ValueError(
                f"{self.activation} with one hidden layer has no Hessian at the origin: its cross "
                "block depends on the side; use two hidden layers or more, or a smooth activation"
            )
        return self


class Parameters(CaseParameters):
    """What a suite may write under ``kind: origin_hessian``."""

    data: DataField
    network: OriginNetwork
    during: saddle.DuringParameters | None = Field(
        None, description="Also look at the Hessian during inference; for small networks."
    )


class OriginHessian(Case[Parameters]):
    """Whole Hessians of loss and energy at the origin against Theorem 2."""

    kind: ClassVar[str] = "origin_hessian"
    description: ClassVar[str] = (
        "the Hessians of loss and equilibrated energy at the origin, compared with "
        "Theorem 2 entry by entry, or by their extreme eigenvalues where they are large "
        "(figures 3, 4, 8)"
    )
    Parameters: ClassVar[type[CaseParameters]] = Parameters

    def needs(self) -> frozenset[str]:
        """Return what inference at a critical point and Hessians need."""
        network = self.parameters.network
        engine = saddle.saddle_inference(network.specification((1,), 1))
        through = {Capability.UNROLLED_HESSIAN} if self.parameters.during else set()
        return needs(network, {"": engine}) | {Capability.HESSIAN} | through

    def run(self, context: Context) -> Iterator[Finding]:
        """Check that the origin is critical, then both Hessians there."""
        problem = Problem.pose(context, self.parameters.data, self.parameters.network)
        spec, x, y = problem.network, problem.x, problem.y
        slopes = saddles.Slopes.of(problem.layered.activation, spec.convention)

        def spectrum(objective: Objective) -> Float[np.ndarray, " P"]:
            return saddles.origin_spectrum(spec.widths, x, y, objective, slopes)

        def ends(objective: Objective) -> tuple[float, float]:
            values = spectrum(objective)
            return float(values[0]), float(values[-1])

        def during(steps: saddles.Steps) -> scipy.sparse.csr_array:
            # At the origin H_z is the identity: all of the corner comes alike.
            passed = 1 - abs(1 - steps.step) ** (2 * steps.number)
            part = saddles.Slopes(slopes.cross, passed * slopes.corner)
            return saddles.origin_hessian(spec.widths, x, y, "energy", part)

        theorem = saddle.Theorem(
            THEOREM_2 if spec.is_linear else NON_LINEAR,
            lambda objective: saddles.origin_hessian(spec.widths, x, y, objective, slopes),
            spectrum,
            ends,
            # At the origin M of theory.md 2.5 is the identity.
            slopes.corner * saddles.zero_rank_curvature_bound(problem.weights, y),
            during,
        )
        yield from saddle.saddle_findings(context, problem, theorem, self.parameters.during)
