"""What is computed of a network, put together of PCX's transformations as its tutorials do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
import pcx.functional as pxf
import pcx.nn as pxnn
import pcx.predictive_coding as pxc
import pcx.utils as pxu
from jaxtyping import Float

from pcbench.backends._on_jax.residual import squared_norms, unfinished
from pcbench.backends.pcx.network import Network

Batch = Float[jax.Array, "N _d"]

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
def predict(x: Batch, *, network: Network) -> Batch:
    """Pass a batch forward."""
    with pxu.step(network, pxc.STATUS.INIT, clear_params=_ALL):
        return _forward(x, network=network)


@pxf.jit()
def loss(x: Batch, y: Batch, *, network: Network) -> tuple[Float[jax.Array, ""], list[Any]]:
    """``𝓛`` and its gradients: those of the energy where every hidden ``h`` is its ``u``."""
    with pxu.step(network, (pxc.STATUS.INIT, None), clear_params=_ALL):
        (total, _), gradients = _weight_gradients(_energy_of_target)(x, y, network=network)
    return total / len(x), [slope / len(x) for slope in gradients["network"].parameters()]


@pxf.jit()
def energies(
    activities: Sequence[Batch], *, network: Network
) -> tuple[Float[jax.Array, " L"], list[Any]]:
    """``𝓕`` of each layer at given activities, and the gradients of their sum."""
    x, *values = activities
    with pxu.step(network, clear_params=_ALL):
        for vode, value in zip(network.vodes, values, strict=True):
            vode.h.set(value)
        (_, (layers,)), gradients = _weight_gradients(_energy)(x, network=network)
    return layers.mean(0), [slope / len(x) for slope in gradients["network"].parameters()]


@pxf.jit(static_argnums=0)
def relax(
    record: int, settings: dict[str, Any], x: Batch, y: Batch, *, network: Network
) -> tuple[Any, ...]:
    """Descend in the hidden values until the residual is reached or the budget is spent.

    The energy is summed over the batch: its gradient is ``∂(N𝓕)/∂z``, and the step is the
    optimiser's rate.

    Parameters
    ----------
    record
        How many energies there may be on the way; 0 where none are to be kept.
    settings
        ``step``, ``residual`` and ``max_steps``: with others, nothing is compiled anew.
    x, y
        The batch.
    network
        The network, without activities; so it is left.

    Returns
    -------
    tuple
        Hidden activities, energies of the layers, steps, squared forces of every sample there and
        at the start, and the energies on the way, if they are to be recorded.
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
    hidden = [vode.h.get() for vode in network.vodes[:-1]]
    network.clear_params(_ALL)
    return hidden, layers, steps, squares(slopes), start, path
