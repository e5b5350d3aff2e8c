"""A network in NumPy; and replicas: networks that are asked one after the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float

from pcbench.backends.numpy.engines import (
    infer_by_errors,
    infer_by_gauss_newton,
    infer_by_gradient,
    infer_by_ode,
    infer_exactly,
    lengthened,
)
from pcbench.backends.numpy.hessians import EnergyHessian, UnrolledHessian
from pcbench.backends.numpy.layers import Layer, along, in_order, parameters_of
from pcbench.backends.numpy.state import Clamped
from pcbench.contract.inference import (
    Engine,
    ErrorInference,
    ExactInference,
    GaussNewtonInference,
    GradientInference,
    InferenceSettings,
    OdeInference,
)
from pcbench.contract.model import BackendUnavailableError, Hessian, Inference, Model

Batch = Float[np.ndarray, "N _d"]
Array = Float[np.ndarray, "..."]
Activities = Sequence[Batch]
Precision = Batch | None
Infer = Callable[[Clamped, Any], Inference[Array]]


class NumpyModel(Model[Array]):
    """A network of any layers.

    Overflow and invalid numbers raise no warnings: they show themselves in the answers.
    """

    # What infers in a clamped network, by the settings that ask for it.
    engines: ClassVar[Mapping[type[Engine], Infer]] = {
        ExactInference: lambda clamped, _: infer_exactly(clamped),
        GradientInference: infer_by_gradient,
        GaussNewtonInference: infer_by_gauss_newton,
        ErrorInference: infer_by_errors,
        OdeInference: infer_by_ode,
    }

    def __init__(self, layers: Sequence[Layer]) -> None:
        self.layers = list(layers)

    @np.errstate(all="ignore")
    def predict(self, x: Batch) -> Batch:
        """``ŷ = f_L(… f_1(x))``."""
        for layer in self.layers:
            x = layer.at(x).value
        return x

    @np.errstate(all="ignore")
    def loss(self, x: Batch, y: Batch, precision: Precision = None) -> Array:
        """``𝓛``: the energy of the output at the feedforward activities."""
        return np.asarray(self._clamp(x, y, precision).feedforward().energies()[-1])

    @np.errstate(all="ignore")
    def loss_gradients(self, x: Batch, y: Batch, precision: Precision = None) -> list[Array]:
        """``∂𝓛/∂W_l`` by the chain rule, then ``∂𝓛/∂b_l``."""
        start = self._clamp(x, y, precision).feedforward()
        force, pairs = -start.forces[-1], []
        for layer in reversed(start.evaluated):
            pairs.append(layer.gradients(force))
            force = layer.pull(force)
        # Of no samples the mean is no number: sums are divided, not what is summed.
        return [gradient / np.float64(len(x)) for gradient in in_order(reversed(pairs))]

    @np.errstate(all="ignore")
    def infer(
        self, x: Batch, y: Batch, settings: InferenceSettings, precision: Precision = None
    ) -> Inference[Array]:
        """Relax the hidden activities with input and output clamped."""
        infer = self.engines.get(type(settings))
        if infer is None:
            raise BackendUnavailableError(
                f"the numpy backend offers no engine: {settings.engine}; use engine: gradient"
            )
        return infer(self._clamp(x, y, precision), settings)

    @np.errstate(all="ignore")
    def energies(self, activities: Activities, precision: Precision = None) -> Array:
        """Energy of each layer, by its definition."""
        x, *hidden, y = activities
        return self._clamp(x, y, precision).at(hidden).energies()

    @np.errstate(all="ignore")
    def energy_gradients(self, activities: Activities, precision: Precision = None) -> list[Array]:
        """``∂𝓕/∂W_l``, local to each layer, then ``∂𝓕/∂b_l``."""
        x, *hidden, y = activities
        gradients = self._clamp(x, y, precision).at(hidden).gradients()
        return [gradient / np.float64(len(x)) for gradient in gradients]

    @np.errstate(all="ignore")
    def loss_hessian(self, x: Batch, y: Batch, precision: Precision = None) -> Hessian[Array]:
        """``∇²𝓛``: the loss is the energy that is reached in no steps."""
        return UnrolledHessian(self._clamp(x, y, precision), steps=0, step=0.0)

    @np.errstate(all="ignore")
    def energy_hessian(
        self, activities: Activities, precision: Precision = None, residual: float | None = None
    ) -> Hessian[Array]:
        """``∇²𝓕*`` at the equilibrium that is given.

        Inner systems are solved directly, to rounding, whatever the residual asked for.
        """
        x, *hidden, y = activities
        return EnergyHessian(self._clamp(x, y, precision).at(hidden))

    def unrolled_hessian(self, x: Batch, y: Batch, steps: int, step: float) -> Hessian[Array]:
        """Hessian of the energy that so many steps of gradient inference reach."""
        return UnrolledHessian(self._clamp(x, y, None), steps, step)

    @property
    def parameters(self) -> list[Array]:
        """``W_1 … W_L``, then the biases of all layers, if they have them."""
        return parameters_of(self.layers)

    def along(self, parameters: Sequence[Array]) -> NumpyModel:
        """Return the network at other parameters."""
        return type(self)(along(self.layers, parameters))

    def _clamp(self, x: Batch, y: Batch, precision: Precision) -> Clamped:
        return Clamped.of(self.layers, x, y, precision)


class _Hessians(Hessian[Array]):
    """A Hessian a replica; vectors are shared, ``(K, P)``, or each has its own, ``(R, K, P)``."""

    def __init__(self, hessians: Sequence[Hessian[Array]]) -> None:
        self._hessians = list(hessians)

    @property
    def residual(self) -> float:  # type: ignore[override]
        """The largest of all."""
        return float(np.max([hessian.residual for hessian in self._hessians]))

    def product(self, vectors: Array) -> Array:
        """Multiply by each."""
        return np.stack(
            [hessian.product(_own(vectors, r)) for r, hessian in enumerate(self._hessians)]
        )


def _own(part: Any, r: int) -> Any:
    """Return what belongs to a replica, of arrays with an axis of them or without."""
    if isinstance(part, list | tuple):
        return [_own(array, r) for array in part]
    return part[r] if isinstance(part, np.ndarray) and part.ndim == 3 else part


def stacked(each: Sequence[Sequence[Array]]) -> list[Array]:
    """Stack the answers of replicas that are several arrays."""
    return [np.stack(arrays) for arrays in zip(*each, strict=True)]


def _joined(each: Sequence[Inference[Array]]) -> Inference[Array]:
    """Join answers; a path that has ended stays where it is."""
    steps = max(answer.steps for answer in each)
    passes = [answer.passes for answer in each if answer.passes is not None]
    samples = [answer.sample_residuals for answer in each if answer.sample_residuals is not None]
    paths = [answer.path for answer in each if answer.path is not None]
    return Inference(
        activities=stacked([answer.activities for answer in each]),
        energies=np.stack([answer.energies for answer in each]),
        steps=steps,
        residual=np.stack([answer.residual for answer in each]),
        converged=all(answer.converged for answer in each),
        passes=max(passes) if passes else None,
        sample_residuals=np.stack(samples),
        path=np.stack([lengthened(path, steps) for path in paths]) if paths else None,
    )


def _each(method: str, join: Callable[[list[Any]], Any]) -> Any:
    """Return a method that asks every network its own part of a question, and joins the answers."""

    def ask(replicas: Replicas, *question: Any, **named: Any) -> Any:
        return join(
            [
                getattr(model, method)(
                    *(_own(part, r) for part in question),
                    **{name: _own(part, r) for name, part in named.items()},
                )
                for r, model in enumerate(replicas.models)
            ]
        )

    return ask


class Replicas(Model[Array]):
    """Networks of one shape with parameters of their own, asked one after the other.

    Batches are shared, ``(N, d)``, or each has its own, ``(R, N, d)``. Answers are stacked; where
    inference ended is that of each alone, also by ``ode``.
    """

    def __init__(self, models: Sequence[NumpyModel]) -> None:
        self.models = list(models)

    predict = _each("predict", np.stack)
    loss = _each("loss", np.stack)
    loss_gradients = _each("loss_gradients", stacked)
    infer = _each("infer", _joined)
    energies = _each("energies", np.stack)
    energy_gradients = _each("energy_gradients", stacked)
    loss_hessian = _each("loss_hessian", _Hessians)
    energy_hessian = _each("energy_hessian", _Hessians)
    unrolled_hessian = _each("unrolled_hessian", _Hessians)
