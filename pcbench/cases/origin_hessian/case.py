"""Figures 3, 4 and 8 of the paper: the Hessians at the origin, entry by entry, by Theorem 2.

The origin is a strict saddle of the equilibrated energy at any depth; of the loss only with one
hidden layer. The same holds of non-linear networks with ``φ(0) = 0`` (theory.md 3.2). Where the
Hessian is too large to be written down, the ends of its spectrum are compared.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, get_args

from pydantic import BeforeValidator, Field, model_validator

from pcbench.case import Case, CaseParameters, Context, Finding, Omission
from pcbench.contract import Capability, Objective
from pcbench.data import DataField
from pcbench.judges.hessian.critical import refuse_sigmoid, saddle_inference
from pcbench.judges.hessian.during import DuringParameters
from pcbench.judges.hessian.extremes import ClosedEnds, examine_ends
from pcbench.judges.hessian.hessian import MAX_PARAMETERS, ClosedForms, DuringInference, examine
from pcbench.judges.problem import Problem
from pcbench.judges.relaxed import needs
from pcbench.networks import InitialisationField, NetworkParameters, Origin
from pcbench.networks.activations import ActivationName, activation
from pcbench.theory.linear.origin import Slopes, origin_hessian, origin_spectrum
from pcbench.theory.linear.saddles import zero_rank_curvature_bound

THEOREM_2 = "Theorem 2 (theory.md 2.4)"
NON_LINEAR = "the origin of a non-linear network (theory.md 3.2)"


class OriginNetwork(NetworkParameters):
    """A network with at least one hidden layer and all weights zero."""

    activation: Annotated[ActivationName, BeforeValidator(refuse_sigmoid)] = "identity"
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
    during: DuringParameters | None = Field(
        None, description="Also look at the Hessian during inference; for small networks."
    )


class OriginHessian(Case[Parameters]):
    """Whole Hessians of loss and energy at the origin against Theorem 2."""

    kind: ClassVar[str] = "origin_hessian"
    description: ClassVar[str] = (
        "the Hessians of loss and equilibrated energy at the origin, entry by entry or by the ends "
        "of their spectra, and strictness, against Theorem 2 (figures 3, 4, 8)"
    )
    Parameters: ClassVar[type[CaseParameters]] = Parameters

    def needs(self) -> frozenset[str]:
        """Return what inference at a critical point and Hessians need."""
        network = self.parameters.network
        engine = saddle_inference(network.specification((1,), 1))
        through = {Capability.UNROLLED_HESSIAN} if self.parameters.during else set()
        return needs(network, {"": engine}) | {Capability.HESSIAN} | through

    def run(self, context: Context) -> Iterator[Finding]:
        """Check that the origin is critical, then both Hessians there."""
        problem = Problem.pose(context, self.parameters.data, self.parameters.network)
        spec, x, y = problem.network, problem.x, problem.y
        slopes = Slopes.of(problem.layered.activation, spec.convention)
        source = THEOREM_2 if spec.is_linear else NON_LINEAR
        spectra = {
            objective: origin_spectrum(spec.widths, x, y, objective, slopes)
            for objective in get_args(Objective)
        }
        # At the origin M of theory.md 2.5 is the identity.
        bound = slopes.corner * zero_rank_curvature_bound(problem.weights, y)
        bounds = {"loss": None, "energy": bound}
        if spec.n_parameters > MAX_PARAMETERS:
            if self.parameters.during is not None:
                yield Omission(
                    "Hessians during inference",
                    f"they are whole, of up to {MAX_PARAMETERS:,} parameters, and this network "
                    f"has {spec.n_parameters:,}; give fewer units",
                )
            ends: dict[Objective, ClosedEnds] = {
                objective: ClosedEnds(float(values[0]), float(values[-1]), bounds[objective])
                for objective, values in spectra.items()
            }
            yield from examine_ends(context, problem, source, ends)
            return
        forms: dict[Objective, ClosedForms] = {
            objective: ClosedForms(
                origin_hessian(spec.widths, x, y, objective, slopes),
                values,
                bounds[objective],
            )
            for objective, values in spectra.items()
        }
        yield from examine(context, problem, source, forms, self._during(problem, slopes))

    def _during(self, problem: Problem, slopes: Slopes) -> list[DuringInference]:
        """At the origin ``H_z`` is the identity: all of the corner comes alike."""
        found: list[DuringInference] = []
        if self.parameters.during is None:
            return found
        for steps in self.parameters.during.all:
            passed = 1 - abs(1 - steps.step) ** (2 * steps.number)
            hessian = origin_hessian(
                problem.network.widths,
                problem.x,
                problem.y,
                "energy",
                Slopes(slopes.cross, passed * slopes.corner),
            )
            found.append(DuringInference(steps, hessian))
        return found
