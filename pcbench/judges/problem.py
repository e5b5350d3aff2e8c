"""What the cases share: a network, a batch, and numbers that fit the dtype."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from jaxtyping import Float, Int
from pydantic import Field

from pcbench.case import CaseSkippedError, Context
from pcbench.contract import DType
from pcbench.data.base import DatasetParameters
from pcbench.networks import ImpossibleNetworkError, NetworkParameters, NetworkSpec, activation
from pcbench.networks.parameters import ConvolutionParameters
from pcbench.theory.linear.equilibrium import output_covariance
from pcbench.theory.nonlinear.activations import ACTIVATIONS, Formula
from pcbench.theory.nonlinear.layered import Layered
from pcbench.theory.rounding import range
from pcbench.theory.rounding.bounds import unit_roundoff
from pcbench.theory.rounding.undecidable import UndecidableError

Weights = list[Float[np.ndarray, "_out ..."]]


class LinearNetwork(NetworkParameters):
    """A network that the theorems speak about."""

    activation: Literal["identity"] = "identity"
    bias: Literal[False] = False
    convolutions: list[ConvolutionParameters] = Field(default=[], max_length=0)


@dataclass(frozen=True, slots=True)
class Problem:
    """A network at a point in weight space, and samples.

    All numbers are rounded to the backend's dtype already: judge and judged are then given the same
    problem, and what they disagree about is arithmetic alone.
    """

    network: NetworkSpec
    weights: Weights
    x: Float[np.ndarray, "N d_0"]
    y: Float[np.ndarray, "N d_L"]
    biases: list[Float[np.ndarray, " _out"]] = field(default_factory=list)
    precision: Float[np.ndarray, "N d_L"] | None = None

    @classmethod
    def pose(
        cls,
        context: Context,
        data: DatasetParameters,
        network: NetworkParameters,
        *,
        partly_observed: bool = False,
        draw: int | None = None,
    ) -> Problem:
        """Load the samples and draw the weights.

        With ``partly_observed`` the case can do with targets of which some are not observed: they
        get precision 0, and stay what they are. ``draw`` numbers problems that are posed several
        times, each with streams of its own.

        Raises
        ------
        CaseSkippedError
            If the samples have another shape than the network takes, or targets that the case needs
            are not observed.
        ImpossibleNetworkError
            If a saved point is of another network: the case is errored, with the reason.
        UndecidableError
            If the numbers leave the dtype's range: the case is undecided, with the reason.
        """
        number = "" if draw is None else f" {draw}"
        samples = context.load(data, f"data{number}")
        x, y, dtype = samples.x, samples.y, context.backend.dtype
        if samples.observed is not None and not partly_observed:
            raise CaseSkippedError(
                f"this kind takes targets that are observed entirely, and those of {data.name} are "
                "not; write data.observed: 1"
            )
        if x.ndim != 2 and not network.convolutions:
            raise CaseSkippedError(
                f"the inputs have shape {x.shape[1:]}, and a fully connected network takes "
                "flat ones; write data.shape: flat"
            )
        try:
            spec = network.specification(x.shape[1:], y.shape[1])
        except ImpossibleNetworkError as error:
            raise CaseSkippedError(str(error)) from error
        weights = network.initialisation.draw(spec, context.rng(f"weights{number}"))
        biases = network.initialisation.draw_biases(spec, context.rng(f"biases{number}"))
        context.saw(f"weights{number}", *weights, *biases)
        x, y = rounded([x.reshape(len(x), -1), y], dtype)
        precision = None if samples.observed is None else samples.observed.astype(float)
        posed = cls(spec, rounded(weights, dtype), x, y, rounded(biases, dtype), precision)
        try:
            posed.demand_range(dtype)
        except UndecidableError as error:
            wider = "" if dtype == "float64" else ", or write dtype: float64"
            raise UndecidableError(
                f"The initial weights or the data are too large: {error}; give "
                f"network.initialisation smaller weights{wider}"
            ) from error
        return posed

    @property
    def arrays(self) -> list[np.ndarray]:
        """All that is given: weights, biases, inputs, targets, and precisions if there are any."""
        given = [*self.weights, *self.biases, self.x, self.y]
        return given if self.precision is None else [*given, self.precision]

    def masked(self, observed: float, rng: np.random.Generator) -> Problem:
        """Return the problem with each output observed with a probability, and at least one.

        The targets of the others are not numbers: a backend that uses them shows it.
        """
        seen = rng.random(self.y.shape) < observed
        seen[np.arange(len(seen)), rng.integers(0, seen.shape[1], len(seen))] = True
        return replace(self, y=np.where(seen, self.y, np.nan), precision=seen.astype(float))

    def at(self, parameters: Weights) -> Problem:
        """Return the problem at other weights and biases, in the order of ``parameters``."""
        layers = len(self.weights)
        return replace(self, weights=list(parameters[:layers]), biases=list(parameters[layers:]))

    def rows(self, rows: slice | Int[np.ndarray, "*R n"]) -> Problem:
        """Return the problem with some of its samples, or the replicas' batches of a step."""
        precision = None if self.precision is None else self.precision[rows]
        return replace(self, x=self.x[rows], y=self.y[rows], precision=precision)

    @property
    def layered(self) -> Layered:
        """The network as the theory sees it."""
        network = self.network
        return Layered(
            self.weights,
            self.biases if network.bias else None,
            theory_of(network.activation),
            network.convention,
            [layer.image for layer in network.convolutions],
            [layer.pool for layer in network.convolutions],
        )

    def demand_range(self, dtype: DType) -> None:
        """Demand numbers that the dtype and the theory's float64 hold, else UndecidableError."""
        if not all(np.isfinite(array).all() for array in self.parameters):
            raise UndecidableError(f"parameters are not finite in {dtype}")
        with np.errstate(over="ignore"):
            squares = np.square([float(np.sum(array**2)) for array in self.parameters])
        if not np.isfinite(squares).all():
            raise UndecidableError(
                "fourth powers of the weights, which norms of Hessians are made of, overflow "
                "float64"
            )
        largest = float(np.finfo(dtype).max)
        range.demand_range(self.layered, self.x, self.y, largest, self.precision)

    def demand_definite(self, dtype: DType) -> None:
        """Demand an equilibrium of a linear network that the dtype can tell, else UndecidableError.

        ``S`` of Theorem 1 has eigenvalues of 1 or more; where its trace is ``1/u`` or more, one of
        1 may be lost in rounding, and an honest Cholesky factorisation fail. Precisions above 1
        raise the trace.
        """
        heaviest = max(1.0, float(self.weighting.max()))
        trace = heaviest * float(np.trace(output_covariance(self.weights)))
        if trace * unit_roundoff(dtype) >= 1:
            raise UndecidableError(
                f"S of Theorem 1 has trace {trace:.2g}, and is singular to {dtype}"
            )

    @property
    def weighting(self) -> Float[np.ndarray, "N d_L"]:
        """The precision, 1 where none is given."""
        return np.ones_like(self.y) if self.precision is None else self.precision

    @property
    def parameters(self) -> list[Float[np.ndarray, "..."]]:
        """Weights, then biases, as a backend takes them."""
        return [*self.weights, *self.biases]


def theory_of(name: str) -> str | Formula:
    """Return an activation as the theory takes it: by a name that it knows, or by the row's ``φ``.

    Where the theory does not know it, and it has kinks, the case is skipped.
    """
    if name in ACTIVATIONS:
        return name
    row = activation(name)
    if not row.smooth:
        raise CaseSkippedError(f"the theory takes no kinks but its own, not those of {name}")
    return Formula(row.value, row.max_slope)


def rounded(
    arrays: Sequence[Float[np.ndarray, "..."]], dtype: DType
) -> list[Float[np.ndarray, "..."]]:
    """Round to the dtype, and return the results in float64."""
    with np.errstate(over="ignore"):  # what is too large for the dtype is not finite in it
        return [np.asarray(array, dtype).astype(np.float64) for array in arrays]
