"""A network in PCX, put together of its modules and transformations as its tutorials do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
import pcx
import pcx.functional as pxf
import pcx.nn as pxnn
import pcx.predictive_coding as pxc
import pcx.utils as pxu
from jax import Array
from jaxtyping import Float

from pcbench.backends._on_jax.answers import (
    Reached,
    ended,
    from_table,
    on_host,
    squared_norms,
    unfinished,
)
from pcbench.contract.inference import GradientInference, InferenceSettings
from pcbench.contract.model import BackendUnavailableError, Inference, Model
from pcbench.networks import NetworkSpec

_ACTIVATIONS = {  # but leaky_relu, which at 0 has another slope in JAX
    "identity": lambda z: z,
    "tanh": jax.nn.tanh,
    "relu": jax.nn.relu,
    "silu": jax.nn.silu,
}


class Network(pxc.EnergyModule):
    """``Linear`` layers, an activation, and a ``Vode`` after each layer."""

    def __init__(self, network: NetworkSpec, parameters: Sequence[Float[Array, "..."]]) -> None:
        super().__init__()
        weights, biases = parameters[: network.n_layers], parameters[network.n_layers :]
        name = network.activation
        self.phi = pcx.static(_ACTIVATIONS.get(name) or from_table(name))
        self.post = pcx.static(network.convention == "post")
        keys = pcx.RandomKeyGenerator(0)  # PCX's own has the time for its seed
        self.layers = [
            pxnn.Linear(*weight.shape[::-1], bias=network.bias, rkg=keys) for weight in weights
        ]
        for index, (layer, weight) in enumerate(zip(self.layers, weights, strict=True)):
            layer.nn.weight.set(weight)
            if network.bias:
                layer.nn.bias.set(biases[index])
        self.vodes = [pxc.Vode() for _ in weights]
        self.vodes[-1].h.frozen = True  # which inference leaves alone

    def __call__(self, x: Any) -> Any:
        """Pass one sample through the layers; each goes on from its ``Vode``'s value."""
        last = len(self.layers) - 1
        for index, (layer, vode) in enumerate(zip(self.layers, self.vodes, strict=True)):
            before = self.phi(x) if index and not self.post.get() else x
            u = layer(before)
            x = vode(self.phi(u) if index < last and self.post.get() else u)
        return self.vodes[-1].get("u")

    def parameters(self) -> list[Float[Array, "..."]]:
        """Return the weights, then the biases; of gradients in this form, theirs."""
        biases = [layer.nn.bias for layer in self.layers if layer.nn.bias is not None]
        return [*(layer.nn.weight.get() for layer in self.layers), *(b.get() for b in biases)]


Batch = Float[Array, "N _d"]
Activities = Sequence[Batch]
Precision = Batch | None

_CACHE = pxc.VodeParam.Cache
_ALL = pxc.VodeParam | pxc.VodeParam.Cache
_BY_SAMPLE = pxu.M(_ALL).to((None, 0))
_PARAMETERS = pxu.M(pxnn.LayerParam).to((False, True))
_HIDDEN = pxu.M_hasnot(pxc.VodeParam, frozen=True)
_HIDDEN_OR_NOT = pxu.M_hasnot(pxc.VodeParam, frozen=True).to((False, True))  # `to` is in place


@pxf.vmap(_BY_SAMPLE, in_axes=(0,), out_axes=0)
def _forward(x: Any, *, network: Network) -> Any:
    return network(x)


def _sum(network: Network) -> tuple[Any, Any]:
    """Return ``N𝓕``, and of this sample the energy of each layer."""
    layers = jnp.stack([vode.energy() for vode in network.vodes])
    return jax.lax.psum(network.energy(), "batch"), layers


@pxf.vmap(_BY_SAMPLE, in_axes=(0,), out_axes=(None, 0), axis_name="batch")
def _energy(x: Any, *, network: Network) -> tuple[Any, Any]:
    network(x)
    return _sum(network)


@pxf.vmap(_BY_SAMPLE, in_axes=(0, 0), out_axes=(None, 0), axis_name="batch")
def _energy_of_target(x: Any, y: Any, *, network: Network) -> tuple[Any, Any]:
    network(x)
    network.vodes[-1].set("h", y)
    return _sum(network)


_weight_gradients = pxf.value_and_grad(_PARAMETERS, has_aux=True)
_forces = pxf.value_and_grad(_HIDDEN_OR_NOT, has_aux=True)


@pxf.jit()
def _predict(x: Batch, *, network: Network) -> Batch:
    """Pass a batch forward."""
    with pxu.step(network, pxc.STATUS.INIT, clear_params=_ALL):
        return _forward(x, network=network)


@pxf.jit()
def _loss(x: Batch, y: Batch, *, network: Network) -> tuple[Float[Array, ""], list[Any]]:
    """``𝓛`` and its gradients: those of the energy where every hidden ``h`` is its ``u``."""
    with pxu.step(network, (pxc.STATUS.INIT, None), clear_params=_ALL):
        (total, _), gradients = _weight_gradients(_energy_of_target)(x, y, network=network)
    return total / len(x), [slope / len(x) for slope in gradients["network"].parameters()]


@pxf.jit()
def _energies(activities: Activities, *, network: Network) -> tuple[Float[Array, " L"], list[Any]]:
    """``𝓕`` of each layer at given activities, and the gradients of their sum."""
    x, *values = activities
    with pxu.step(network, clear_params=_ALL):
        for vode, value in zip(network.vodes, values, strict=True):
            vode.h.set(value)
        (_, (layers,)), gradients = _weight_gradients(_energy)(x, network=network)
    return layers.mean(0), [slope / len(x) for slope in gradients["network"].parameters()]


@pxf.jit(static_argnums=0)
def _relax(
    record: int, settings: dict[str, Any], x: Batch, y: Batch, *, network: Network
) -> Reached:
    """Descend in the hidden values until the residual is reached or the budget is spent.

    The energy is summed over the batch: its gradient is ``∂(N𝓕)/∂z``, and the step is the
    optimiser's rate. Room is made for ``record`` energies on the way; with other settings, nothing
    is compiled anew. The network comes without activities; so it is left.
    """

    def look(network: Network) -> tuple[Any, Any]:
        """Return the forces, and the energies of the layers."""
        with pxu.step(network, clear_params=_CACHE):
            (_, (layers,)), slopes = _forces(_energy)(x, network=network)
        return slopes["network"], layers.mean(0)

    def squares(slopes: Any) -> Any:
        return squared_norms([vode.h.get() for vode in slopes.vodes[:-1]], y)

    def further(steps: Any, slopes: Any, *_: Any, **__: Any) -> Any:
        above = unfinished(squares(slopes), start, settings["residual"])
        return above & (steps < settings["max_steps"])

    def step(steps: Any, slopes: Any, _: Any, path: Any, *, network: Any, optim: Any) -> Any:
        optim.step(network, slopes)
        slopes, layers = look(network)
        return steps + 1, slopes, layers, None if path is None else path.at[steps + 1].set(layers)

    with pxu.step(network, (pxc.STATUS.INIT, None), clear_params=_CACHE):
        _forward(x, network=network)
        network.vodes[-1].set("h", y)
    optim = pxu.Optim(lambda: optax.sgd(settings["step"]), _HIDDEN(network))
    slopes, layers = look(network)
    start, path = squares(slopes), None
    if record:
        path = jnp.zeros((record, len(layers)), x.dtype).at[0].set(layers)
    steps, slopes, layers, path = pxf.while_loop(step, further)(
        0, slopes, layers, path, network=network, optim=optim
    )
    activities = [x, *(vode.h.get() for vode in network.vodes[:-1]), y]
    network.clear_params(_ALL)
    asked = settings["residual"]
    return ended(activities, layers, steps, squares(slopes), start, asked, path)


class PcxModel(Model[Array]):
    """A network of PCX's modules.

    PCX's modules keep what they compute; here every call begins and ends without activities, and is
    made with the backend's dtype set.
    """

    def __init__(
        self, network: NetworkSpec, parameters: Sequence[Array], run: Callable[..., Any]
    ) -> None:
        self._run = run
        self._network = run(Network, network, parameters)

    def predict(self, x: Batch) -> Batch:
        """The input ``u`` of the last ``Vode``, after a forward pass."""
        return self._ask(_predict, x)

    def loss(self, x: Batch, y: Batch, precision: Precision = None) -> Array:
        """The energy after a forward pass with the output at its target."""
        return self._ask(_loss, x, y, precision=precision)[0]

    def loss_gradients(self, x: Batch, y: Batch, precision: Precision = None) -> list[Array]:
        """Gradients of that energy through the forward pass."""
        return self._ask(_loss, x, y, precision=precision)[1]

    def infer(
        self, x: Batch, y: Batch, settings: InferenceSettings, precision: Precision = None
    ) -> Inference[Array]:
        """Relax the hidden activities with input and output clamped."""
        if not isinstance(settings, GradientInference):
            raise BackendUnavailableError(
                f"PCX has no engine {settings.engine}; use engine: gradient"
            )
        if settings.halve:
            raise BackendUnavailableError("PCX keeps a step as it is; leave preset and halve out")
        record = settings.max_steps + 1 if settings.record else 0
        limits = settings.model_dump(include={"step", "residual", "max_steps"})
        reached = self._ask(_relax, record, limits, x, y, precision=precision)
        return self._run(on_host, reached)

    def energies(self, activities: Activities, precision: Precision = None) -> Array:
        """``Vode.energy`` of every layer, its mean over the batch."""
        return self._ask(_energies, activities, precision=precision)[0]

    def energy_gradients(self, activities: Activities, precision: Precision = None) -> list[Array]:
        """Gradients of the energy in the parameters, their mean over the batch."""
        return self._ask(_energies, activities, precision=precision)[1]

    def _ask(self, function: Callable[..., Any], *arguments: Any, precision: Any = None) -> Any:
        return self._run(partial(function, network=self._network), *arguments, precision=precision)
