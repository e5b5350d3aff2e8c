"""What answers about one batch may be off by, each bound found once."""

from __future__ import annotations

from functools import cached_property
from weakref import WeakKeyDictionary

import numpy as np
from jaxtyping import Float

from pcbench.contract import DType
from pcbench.judges.problem import Problem
from pcbench.theory.nonlinear.layered import feedforward
from pcbench.theory.rounding.bounds import unit_roundoff
from pcbench.theory.rounding.layered import LayeredRounding, layered_rounding
from pcbench.theory.rounding.passes import FeedforwardRounding, feedforward_rounding
from pcbench.theory.rounding.perturbation import EquilibriumRounding, equilibrium_rounding

Activities = list[Float[np.ndarray, "N _d"]]


class Rounding:
    """Bounds on rounding, of the start of every engine and of where each ended.

    Targets that are not observed need be no numbers.
    """

    def __init__(self, problem: Problem, dtype: DType) -> None:
        self._network, self._precision = problem.layered, problem.precision
        self._x, self._y = problem.x, problem.y
        self.u = unit_roundoff(dtype)
        self.derivation = f"rounding at u = {self.u:.2g} at these activities (theory.md 4)"
        self._known: WeakKeyDictionary[object, LayeredRounding] = WeakKeyDictionary()

    def of(self, answer: object, activities: Activities) -> LayeredRounding:
        """Bound what evaluation at an answer's activities is off by, for as long as it lives."""
        if answer not in self._known:
            self._known[answer] = layered_rounding(
                self._network, activities, self.u, self._precision
            )
        return self._known[answer]

    @cached_property
    def start(self) -> FeedforwardRounding:
        """Bound what the start of every engine, and what is evaluated there, is off by."""
        return feedforward_rounding(self._network, self._x, self._y, self.u, self._precision)

    @cached_property
    def exact(self) -> EquilibriumRounding:
        """Bound what exact inference carries from layer to layer, in a linear network.

        Outputs that are not observed are taken as observed where they are predicted: they pull at
        nothing then, either.
        """
        completed = self._y
        if self._precision is not None:
            prediction = feedforward(self._network, self._x)[-1]
            completed = np.where(self._precision > 0, self._y, prediction)
        return equilibrium_rounding(self._network.weights, self._x, completed, self.u)


def of_parameters(rounding: LayeredRounding, problem: Problem) -> tuple[float, ...]:
    """Return the bounds on gradients, in the order of the parameters."""
    return (*rounding.gradients, *(rounding.biases if problem.network.bias else ()))
