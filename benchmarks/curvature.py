"""Curvature at any size: ``python benchmarks/curvature.py``.

The least eigenvalue of the equilibrated energy's Hessian to a relative residual of 1e-4, and what
it costs in evaluations of the loss's gradient (backpropagation in closed form), timed beside it in
the same process: at the origin, at a usual initialisation, and of a network of tanh. Batch 64, 784
inputs, 10 outputs, float32. What is timed is everything: inference, making the Hessian, Lanczos,
and the product that the error bar rests on.

Where JAX is installed, whole Hessians in float64 are compared with what the paper's notebooks do,
forward-over-reverse differentiation through 50 unrolled steps of inference: in time, side by side,
and entry by entry with the theory.
"""

from __future__ import annotations

# Before torch is loaded: it says how long torch's threads spin.
from pcbench.backends.torch import LayeredModel, TorchBackend

# isort: split
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from os import cpu_count, getloadavg
from statistics import median
from time import perf_counter
from typing import Any, Literal

import numpy as np

from pcbench.contract import ExactInference, GaussNewtonInference
from pcbench.networks import ActivationName, Initialisation, LecunNormal, NetworkSpec, Origin
from pcbench.spectra import Extremes, HessianOperator, dense, extreme_eigenpairs
from pcbench.theory.linear.saddles import origin_hessian

BATCH, GRADIENTS = 64, 20
DEEP, WIDE = (784, *(300,) * 10, 10), (784, *(1000,) * 4, 10)
POINTS: list[tuple[tuple[int, ...], ActivationName, Initialisation]] = [
    (DEEP, "identity", Origin()),
    (WIDE, "identity", Origin()),
    (DEEP, "tanh", Origin()),
    (DEEP, "identity", LecunNormal()),
    (WIDE, "identity", LecunNormal()),
    (DEEP, "tanh", LecunNormal()),
]
GOAL = 400
WHOLE = [(784, 10, 10), (40, 50, 50, 10)]
STEPS, STEP, BLOCK = 50, 0.1, 128


def data(widths: tuple[int, ...]) -> tuple[Any, Any]:
    """Draw normal inputs, and one-hot targets."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((BATCH, widths[0]))
    return x, np.eye(widths[-1])[rng.integers(0, widths[-1], BATCH)]


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return seconds, and what came of it."""
    start = perf_counter()
    found = work()
    return perf_counter() - start, found


@dataclass(frozen=True)
class Setting:
    """A network at a point, with a batch, on a backend."""

    network: NetworkSpec
    backend: TorchBackend
    model: LayeredModel
    x: Any
    y: Any

    @classmethod
    def of(
        cls, network: NetworkSpec, weights: Any, dtype: Literal["float32", "float64"]
    ) -> Setting:
        """Build the model and stage the batch."""
        backend, (x, y) = TorchBackend("cpu", dtype), data(network.widths)
        model = backend.build(network, weights)
        return cls(network, backend, model, backend.to_device(x), backend.to_device(y))

    def gradients(self) -> object:
        """Gradients of the loss, the unit of what things cost."""
        return self.model.loss_gradients(self.x, self.y)

    def hessian(self) -> HessianOperator:
        """The energy's Hessian, inference included."""
        engine = ExactInference() if self.network.is_linear else GaussNewtonInference(residual=1e-5)
        reached = self.model.infer(self.x, self.y, engine)
        hessian = self.model.energy_hessian([*reached.activities[:-1], self.y])
        return HessianOperator(self.backend, hessian, self.network.n_parameters)

    def least(self) -> Extremes:
        """Both ends of its spectrum."""
        return extreme_eigenpairs(self.hessian(), np.random.default_rng(2))


def extremes() -> None:
    """Print the least eigenvalue of each network, and its price."""
    print(
        f"{'network':>22} {'at':>13} {'parameters':>10} {'least eigenvalue':>17} {'residual':>9} "
        f"{'error':>8} {'products':>8} {'seconds':>8} {'gradients':>9}"
    )
    for widths, activation, point in POINTS:
        network = NetworkSpec(widths, activation)
        here = Setting.of(network, point.draw(network, np.random.default_rng(1)), "float32")
        here.gradients()
        units = [timed(here.gradients)[0] for _ in range(GRADIENTS)]
        seconds, found = timed(here.least)
        units += [timed(here.gradients)[0] for _ in range(GRADIENTS)]
        price, value = seconds / median(units), found.least.value
        error = verdict = ""
        if isinstance(point, Origin):
            y = here.backend.to_host(here.y)
            exact = -float(np.linalg.eigvalsh(y.T @ y / BATCH)[-1])
            error = f"{abs(value / exact - 1):.1e}"
            verdict = "met" if price <= GOAL else "MISSED"
        print(
            f"{shown(widths, activation):>22} {type(point).__name__:>13} "
            f"{network.n_parameters:>10,} {value:>17.8f} {found.least.residual:>9.1e} "
            f"{error:>8} {found.steps:>8} {seconds:>8.2f} {price:>9.0f} {verdict}",
            flush=True,
        )


def whole_hessians() -> None:
    """Print the time of whole Hessians at the origin, ours and JAX's, and their errors."""
    try:
        import jax
    except ImportError:
        print("\nno JAX here: whole Hessians are not compared (pip install 'jax==0.4.38')")
        return
    jax.config.update("jax_enable_x64", True)
    print(
        f"\n{'whole Hessian':>14} {'pcbench':>9} {'JAX':>9} {'ratio':>6} {'our error':>10} "
        f"{'its error':>10}"
    )
    for widths in WHOLE:
        network, (x, y) = NetworkSpec(widths), data(widths)
        here = Setting.of(network, Origin().draw(network, np.random.default_rng(0)), "float64")
        expected = origin_hessian(widths, x, y, "energy").toarray()
        gradient = jax.grad(unrolled_energy(jax.numpy, widths, x, y))
        flat, unit = jax.numpy.zeros(network.n_parameters), np.eye(network.n_parameters)
        rows = jax.jit(jax.vmap(lambda v, g=gradient, w=flat: jax.jvp(g, (w,), (v,))[1]))
        unrolled = partial(by_blocks, rows, unit)
        by_blocks(rows, unit[:BLOCK])  # compiled before time is taken
        works: list[Callable[[], Any]] = [partial(whole, here), unrolled]
        samples: list[list[float]] = [[], []]
        errors = [0.0, 0.0]
        for _ in range(3):
            for side, work in enumerate(works):
                seconds, found = timed(work)
                samples[side].append(seconds)
                errors[side] = float(np.abs(found - expected).max())
                del found  # half a gigabyte, which the next run would have to find anew
        times = [median(side) for side in samples]
        print(
            f"{'-'.join(map(str, widths)):>14} {times[0]:>8.2f}s {times[1]:>8.2f}s "
            f"{times[1] / times[0]:>6.1f} {errors[0]:>10.1e} {errors[1]:>10.1e}",
            flush=True,
        )


def whole(setting: Setting) -> Any:
    """All of the energy's Hessian."""
    return dense(setting.hessian())


def by_blocks(rows: Callable[[Any], Any], unit: Any) -> Any:
    """All rows, in blocks of one size: at once, they do not fit in memory."""
    padded = np.concatenate([unit, np.zeros((-len(unit) % BLOCK, unit.shape[1]))])
    blocks = np.split(padded, len(padded) // BLOCK)
    return np.concatenate([np.asarray(rows(block)) for block in blocks])[: len(unit)]


def unrolled_energy(np_: Any, widths: tuple[int, ...], x: Any, y: Any) -> Callable[[Any], Any]:
    """Return the energy after 50 steps of inference, as a function of all weights."""
    import jax

    shapes = list(zip(widths[1:], widths[:-1], strict=True))
    cuts = np.cumsum([out * inp for out, inp in shapes])[:-1]

    def energy(weights: list[Any], hidden: list[Any]) -> Any:
        z = [x, *hidden, y]
        errors = [above - below @ w.T for w, below, above in zip(weights, z, z[1:], strict=False)]
        return sum((error**2).sum() for error in errors) / 2

    def objective(flat: Any) -> Any:
        parts = np_.split(flat, cuts)
        weights = [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]
        hidden = []
        below = x
        for weight in weights[:-1]:
            below = below @ weight.T
            hidden.append(below)

        def step(hidden: list[Any], _: Any) -> tuple[list[Any], None]:
            slopes = jax.grad(energy, argnums=1)(weights, hidden)
            return [z - STEP * slope for z, slope in zip(hidden, slopes, strict=True)], None

        hidden, _ = jax.lax.scan(step, hidden, None, length=STEPS)
        return energy(weights, hidden) / len(x)

    return objective


def shown(widths: tuple[int, ...], activation: str) -> str:
    """Return a network in short."""
    hidden = widths[1:-1]
    return f"{widths[0]}-{len(hidden)}×{hidden[0]}-{widths[-1]} {activation}"


if __name__ == "__main__":
    print(f"batch {BATCH}, {cpu_count()} cores, load {getloadavg()[0]:.1f}")
    extremes()
    whole_hessians()
