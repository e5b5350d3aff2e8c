"""JPC's layers, and its ways to an equilibrium, asked until a residual or budget is reached."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import jpc
import optax
from jaxtyping import Float

from pcbench.backends._on_jax.answers import (
    Reached,
    Squares,
    ended,
    from_table,
    on_host,
    squared_norms,
    unfinished,
)
from pcbench.contract import (
    ErrorInference,
    ExactInference,
    GradientInference,
    Inference,
    OdeInference,
)
from pcbench.networks import NetworkSpec


def make_layers(
    network: NetworkSpec, parameters: Sequence[Float[jax.Array, "..."]]
) -> list[eqx.nn.Sequential]:
    """Make layers as ``make_mlp`` does, of any widths, with ``φ`` where the convention has it."""
    weights, biases = parameters[: network.n_layers], parameters[network.n_layers :]
    identity = phi = eqx.nn.Lambda(jpc.get_act_fn("linear"))
    name = network.activation
    if name != "identity":
        # Not JPC's leaky_relu: that is JAX's own, whose slope at 0 is another.
        own = name in ("tanh", "relu", "silu")
        phi = eqx.nn.Lambda(jpc.get_act_fn(name) if own else from_table(name))
    layers = []
    for index, weight in enumerate(weights):
        outputs, inputs = weight.shape
        linear = eqx.nn.Linear(
            inputs, outputs, use_bias=network.bias, dtype=weight.dtype, key=jax.random.key(0)
        )
        linear = eqx.tree_at(lambda part: part.weight, linear, weight)
        if network.bias:
            linear = eqx.tree_at(lambda part: part.bias, linear, biases[index])
        if network.convention == "pre":
            parts = [phi if index else identity, linear]
        else:
            parts = [linear, phi if index < network.n_hidden else identity]
        layers.append(eqx.nn.Sequential(parts))
    return layers


def parameters_of(layers: Any) -> list[Any]:  # of arrays, or of what equinox puts for them
    """Return the weights of layers, or of gradients in their form, then the biases."""
    linear = [part for layer in layers for part in layer if hasattr(part, "weight")]
    biases = [part.bias for part in linear if part.bias is not None]
    return [*(part.weight for part in linear), *biases]


Batch = Float[jax.Array, "N _d"]

_SOLVERS = {"dopri5": diffrax.Dopri5, "bosh3": diffrax.Bosh3, "adaptive_heun": diffrax.Heun}
_TIMEOUT = 4096.0
"""JPC's integrator stops at this time, whatever it is asked for."""
_MANY_STEPS = 1024
"""Of the 4096 that it takes at most in one call; then no longer stretch is asked of it."""
_LEAST_STRETCH = 1e-6
"""Where it needs more than these 4096, it is asked for less; for less than this it is not."""
_PART = 0.1
"""What a step of the flow may be off by makes at most this part of the force asked for."""


class Problem(NamedTuple):
    """JPC's layers, between a clamped input and a clamped output."""

    layers: Any
    x: Any
    y: Any


def infer_exactly(problem: Problem, _: ExactInference) -> Inference[jax.Array]:
    """``compute_linear_activity_solution``."""
    hidden = _solve(problem)
    _, start = _feedforward(problem)
    return on_host(_ending(problem, hidden, 0, _squares(problem, hidden), start, 1.0))


def infer_by_steps(
    problem: Problem, settings: GradientInference | ErrorInference
) -> Inference[jax.Array]:
    """``update_pc_activities`` or ``update_epc_errors``, with ``optax.sgd``, step by step.

    JPC's energy is a mean over the batch, and its gradient ``1/N`` of the contract's: the learning
    rate is ``N · step``. Errors are those that ``init_epc_errors`` makes, as JPC's example has it:
    of all layers, the output's included.
    """
    ways = _by_activities if isinstance(settings, GradientInference) else _by_errors
    reached = _descend(
        problem,
        ways,
        settings.step,
        settings.max_steps + 1 if settings.record else 0,
        jnp.asarray(settings.residual),  # with other limits, nothing is compiled anew
        jnp.asarray(settings.max_steps),
    )
    return on_host(reached)


def infer_by_ode(problem: Problem, settings: OdeInference) -> Inference[jax.Array]:
    """``solve_inference``, over stretches of time that double until the residual is reached.

    JPC's integrator cannot be told to stop at a residual, and is ``N`` times slower than the
    contract's flow. Its steps are those that ``record_iters`` keeps, in the memory that this takes.
    Where no tolerance is given, a step may be off by what the steepest curvature turns into a tenth
    of the force that may be left; one below the rounding of activities is taken for that rounding.
    """
    activities, start = _feedforward(problem)
    squares, n = start, float(len(problem.x))
    residual = settings.residual if settings.atol is None else 0.0
    least = float(_tolerance(problem, activities, start, residual))
    atol = max(settings.atol or least, least)
    tolerances = jnp.asarray([settings.rtol, atol])
    left, stretch, steps = settings.max_time * n, n, 0
    path = [layer_energies(problem, activities[:-1])[None]]
    while left > 0 and steps < settings.max_steps and unfinished(squares, start, settings.residual):
        stretch = min(stretch, left, _TIMEOUT)
        try:
            passed, taken = _flow(
                problem, activities, _SOLVERS[settings.method](), jnp.asarray(stretch), tolerances
            )
        except eqx.EquinoxRuntimeError:  # it takes 4096 steps at a time, and no more
            if stretch < _LEAST_STRETCH * n:
                break  # it does not get on; the residual tells
            stretch /= 4
            continue
        count = min(int(taken), settings.max_steps - steps)
        activities = [layer[count - 1] for layer in passed]
        squares = _squares(problem, activities[:-1])
        if settings.record:
            path.append(_energies_on_the_way(problem, passed)[:count])
        steps, left = steps + count, left - stretch
        if count < _MANY_STEPS:
            stretch *= 2
    kept = jnp.concatenate(path) if settings.record else None
    return on_host(
        _ending(problem, activities[:-1], steps, squares, start, settings.residual, kept)
    )


@eqx.filter_jit
def layer_energies(problem: Problem, hidden: Sequence[Batch]) -> Float[jax.Array, " L"]:
    """Return ``pc_energy_fn`` by layer; JPC has the last layer first, and the first one last."""
    layers, x, y = problem
    energies = jpc.pc_energy_fn((layers, None), [*hidden, y], y, x=x, record_layers=True)
    return energies[jnp.array([-1, *range(1, len(layers) - 1), 0])]


@eqx.filter_jit
def _solve(problem: Problem) -> list[Batch]:
    return jpc.compute_linear_activity_solution(*problem)[:-1]


@eqx.filter_jit
def _feedforward(problem: Problem) -> tuple[list[Batch], Squares]:
    """Return the activities of a forward pass, the prediction among them, and the forces there."""
    activities = jpc.init_activities_with_ffwd(problem.layers, problem.x)
    return activities, _squares(problem, activities[:-1])


@eqx.filter_jit
def _squares(problem: Problem, hidden: Sequence[Batch]) -> Squares:
    return squared_norms(_slopes(problem, hidden), problem.y)


def _slopes(problem: Problem, hidden: Sequence[Batch]) -> list[Batch]:
    """``∂(N𝓕)/∂z`` of the hidden layers, by ``compute_pc_activity_grad``."""
    layers, x, y = problem
    _, slopes = jpc.compute_pc_activity_grad((layers, None), [*hidden, y], y, x=x)
    return [len(x) * slope for slope in slopes[:-1]]


@eqx.filter_jit
def _descend(
    problem: Problem, ways: Any, step: float, record: int, residual: Any, max_steps: Any
) -> Reached:
    """Take steps; at every point JPC's update tells the gradient there, and the next point."""
    optim = optax.sgd(len(problem.x) * step)
    first, look = ways(problem, optim)
    begin = look(first, optim.init(first))
    start, path = squared_norms(begin["slopes"], problem.y), None
    if record:
        path = jnp.zeros((record, len(problem.layers)), problem.x.dtype)
        path = path.at[0].set(layer_energies(problem, begin["hidden"]))

    def further(carry: Any) -> Any:
        steps, seen, _ = carry
        above = unfinished(squared_norms(seen["slopes"], problem.y), start, residual)
        return above & (steps < max_steps)

    def move(carry: Any) -> Any:
        steps, seen, path = carry
        seen = look(seen["next"], seen["state"])
        if path is not None:
            path = path.at[steps + 1].set(layer_energies(problem, seen["hidden"]))
        return steps + 1, seen, path

    steps, seen, path = jax.lax.while_loop(further, move, (0, begin, path))
    squares = squared_norms(seen["slopes"], problem.y)
    return _ending(problem, seen["hidden"], steps, squares, start, residual, path)


Look = Callable[[Any, Any], dict[str, Any]]


def _by_activities(problem: Problem, optim: Any) -> tuple[Any, Look]:
    layers, x, y = problem

    def look(activities: Any, state: Any) -> dict[str, Any]:
        moved = jpc.update_pc_activities((layers, None), activities, optim, state, y, input=x)
        return {
            "hidden": activities[:-1],
            "slopes": [len(x) * slope for slope in moved["grads"][:-1]],
            "next": moved["activities"],
            "state": moved["opt_state"],
        }

    return jpc.init_activities_with_ffwd(layers, x), look


def _by_errors(problem: Problem, optim: Any) -> tuple[Any, Look]:
    layers, x, y = problem
    widths = [z.shape[-1] for z in (x, *jpc.init_activities_with_ffwd(layers, x))]

    def look(errors: Any, state: Any) -> dict[str, Any]:
        moved = jpc.update_epc_errors((layers, None), errors, optim, state, y, input=x)
        hidden, below = [], x
        for layer, error in zip(layers[:-1], errors, strict=False):  # but the output's
            below = jax.vmap(layer)(below) + error
            hidden.append(below)
        return {
            "hidden": hidden,
            "slopes": _slopes(problem, hidden),
            "next": moved["errors"],
            "state": moved["opt_state"],
        }

    return jpc.init_epc_errors(widths, len(x)), look


@eqx.filter_jit
def _flow(
    problem: Problem, activities: Any, solver: Any, stretch: Any, tolerances: Any
) -> tuple[list[Any], Any]:
    """Return the activities after every step, and how many there are."""
    layers, x, y = problem
    passed = jpc.solve_inference(
        (layers, None),
        activities,
        y,
        input=x,
        solver=solver,
        max_t1=stretch,
        stepsize_controller=diffrax.PIDController(rtol=tolerances[0], atol=tolerances[1]),
        record_iters=True,
    )
    return passed, jnp.isfinite(passed[0][:, 0, 0]).sum()  # places without a step are infinite


@eqx.filter_jit
def _energies_on_the_way(problem: Problem, passed: Any) -> Float[jax.Array, "steps L"]:
    return jax.vmap(lambda hidden: layer_energies(problem, hidden))(passed[:-1])


@eqx.filter_jit
def _tolerance(problem: Problem, activities: Any, start: Squares, residual: float) -> Any:
    """The steepest curvature is at most ``(1 + max ‖W_l‖)²``; no step is better than rounding."""
    weights = [array for array in parameters_of(problem.layers[1:]) if array.ndim == 2]
    steepest = (1 + jnp.stack([jnp.linalg.norm(weight, 2) for weight in weights]).max()) ** 2
    units = sum(z.size for z in activities[:-1])
    off = residual * _PART * jnp.sqrt(start.sum() / units) / steepest
    largest = jnp.stack([jnp.sqrt(jnp.mean(z**2)) for z in activities]).max()
    return jnp.maximum(off, jnp.finfo(off.dtype).eps * largest)


def _ending(problem: Problem, hidden: Sequence[Batch], steps: Any, *asked: Any) -> Reached:
    activities = [problem.x, *hidden, problem.y]
    return ended(activities, layer_energies(problem, hidden), steps, *asked)
