"""Hessians with a mistake in their products."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float

from pcbench.audit.wrappers import FaultyModel
from pcbench.contract import Hessian

Vectors = Float[np.ndarray, "*R K P"]
Product = Callable[[Vectors], Float[np.ndarray, "*R K _"]]
Mistake = Callable[[Product, Vectors], Any]


class Multiplied(Hessian[Any]):
    """A correct Hessian whose products a mistake makes anew, on the host.

    Parameters
    ----------
    model
        Lends the way to the host and back.
    correct
        The correct Hessian.
    mistake
        Takes the correct product, as a function, and vectors.
    """

    def __init__(self, model: FaultyModel, correct: Hessian[Any], mistake: Mistake) -> None:
        self._model, self._correct, self._mistake = model, correct, mistake

    @property
    def residual(self) -> float:  # type: ignore[override]
        """The correct one's."""
        return self._correct.residual

    def product(self, vectors: Any) -> Any:
        """Multiply with the mistake."""
        model = self._model

        def correct(host: Vectors) -> Float[np.ndarray, "*R K _"]:
            return model.host(self._correct.product(model.device(host)))

        found = self._mistake(correct, model.host(vectors))
        return model.device(np.asarray(found, np.float64))
