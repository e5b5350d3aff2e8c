"""Exact inference against JPC's two ways to an equilibrium: ``python benchmarks/against_jpc.py``.

JPC (https://github.com/thebuckleylab/jpc) has an analytic solution, which inverts the Hessian of
all hidden units, and an ODE solver, by default Heun's method with adaptive steps up to t = 20. Its
energy is a mean over the batch, and so its flow is slower by the batch's size than that of a
sample: t = 300 is 4.7 units of a sample's time at batch 64.

Same weights, same batch, one process, CPU, float32. All start from the input and the target. JPC's
functions are jitted whole, and compiled before time is taken. Times are of alternating blocks; the
energy of what each returns is taken by its definition in float64, with input and output clamped.
"""

from __future__ import annotations

# Before torch is loaded, as there.
from inference_engines import BATCH, INPUTS, OUTPUTS, problem, side_by_side

# isort: split
import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from os import cpu_count, getloadavg
from statistics import median
from typing import Any

import numpy as np
import torch

from pcbench.contract import ExactInference
from pcbench.theory.linear.equilibrium import equilibrated_energy

try:
    import equinox as eqx
    import jax
    import jpc
except ImportError as error:
    print(
        f"against_jpc: JPC cannot be imported ({error}); in an environment with pcbench, run "
        '`pip install "jax==0.4.38" equinox diffrax optimistix optax`, then install JPC from its '
        "repository, https://github.com/thebuckleylab/jpc",
        file=sys.stderr,
    )
    raise SystemExit(2) from None

WIDTH, DEPTHS, TIMES = 300, (2, 5, 10), (20, 300)
BLOCKS = 9
EXACT, ANALYTIC = "pcbench, exact", "JPC, analytic"
# At 10 hidden layers exact inference is to be so many times as fast, at a smaller energy error.
GOALS = {ANALYTIC: 150, f"JPC, ODE to t = {TIMES[-1]}": 15}

Hidden = Callable[[], Sequence[Any]]  # works out the hidden activities


def contestants(hidden_layers: int) -> tuple[dict[str, Hidden], Callable[[Sequence[Any]], float]]:
    """Ways to the equilibrium of one problem, and the measure of how far each stays above it."""
    model, x, y = problem(hidden_layers, WIDTH)
    net = jpc.make_mlp(jax.random.key(0), INPUTS, WIDTH, hidden_layers + 1, OUTPUTS, "linear")
    weights = [jax.numpy.asarray(weight.numpy()) for weight in model.weights]
    net = eqx.tree_at(lambda layers: [layer[-1].weight for layer in layers], net, weights)
    given = net, jax.numpy.asarray(x.numpy()), jax.numpy.asarray(y.numpy())

    def flow(t: int, net: Any, x: Any, y: Any) -> Any:
        start = jpc.init_activities_with_ffwd(net, x)
        ends = jpc.solve_inference((net, None), start, y, input=x, max_t1=t)
        return [activity[-1] for activity in ends]  # at the one time that is kept

    def compiled(find: Callable[..., Any]) -> Hidden:
        jitted = eqx.filter_jit(find)  # arguments, lest it fold constants
        return lambda: jax.block_until_ready(jitted(*given))[:-1]

    works: dict[str, Hidden] = {
        EXACT: lambda: model.infer(x, y, ExactInference()).activities[1:-1],
        ANALYTIC: compiled(jpc.compute_linear_activity_solution),
        **{f"JPC, ODE to t = {t}": compiled(partial(flow, t)) for t in TIMES},
    }

    inputs, targets, *matrices = (array.double().numpy() for array in (x, y, *model.weights))
    least = equilibrated_energy(matrices, inputs, targets)

    def error(hidden: Sequence[Any]) -> float:
        z = [inputs, *(np.asarray(activity, dtype=np.float64) for activity in hidden), targets]
        misses = (up - down @ w.T for down, up, w in zip(z, z[1:], matrices, strict=False))
        return float(sum(np.sum(miss**2) for miss in misses) / (2 * BATCH) / least - 1)

    return works, error


def compare(hidden_layers: int) -> dict[str, tuple[float, float]]:
    """Print a line a contestant; return its time in units of exact inference, and its error."""
    works, error = contestants(hidden_layers)
    errors = [error(work()) for work in works.values()]  # and all is compiled
    calls = [{EXACT: 20, ANALYTIC: 1}.get(name, 2) for name in works]
    times = side_by_side(*works.values(), blocks=BLOCKS, calls=calls)
    results = {}
    for name, seconds, off in zip(works, times, errors, strict=True):
        ratio = median(a / b for a, b in zip(seconds, times[0], strict=True))
        results[name] = ratio, off
        print(
            f"{hidden_layers:>4} hidden layers   {name:<19} {1e3 * median(seconds):8.2f} ms, "
            f"least {1e3 * min(seconds):8.2f} ms   times exact {ratio:6.1f}   "
            f"energy error {off:.1e}"
        )
    return results


if __name__ == "__main__":
    jax.config.update("jax_platforms", "cpu")
    packages = ("torch", "jpc", "jax", "equinox", "diffrax")
    print(", ".join(f"{package} {version(package)}" for package in packages))
    print(
        f"{cpu_count()} CPU cores, {torch.get_num_threads()} threads of torch, float32, batch "
        f"{BATCH}, {INPUTS} inputs, width {WIDTH}, {OUTPUTS} outputs; median of {BLOCKS} blocks"
    )
    print(
        f"load average before: {getloadavg()[0]:.1f}; whatever else runs disturbs all, exact most"
    )
    for depth in DEPTHS:
        results = compare(depth)
    for name, goal in GOALS.items():
        ratio, off = results[name]
        met = ratio >= goal and results[EXACT][1] < off
        print(
            f"goal at {DEPTHS[-1]}: {goal} times as fast as {name}, at a smaller energy error: "
            f"{'met' if met else 'missed'}"
        )
