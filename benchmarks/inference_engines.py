"""Inference engines side by side: ``python benchmarks/inference_engines.py``.

Times are medians of alternating blocks, so that each runs as it does in training, with what it
needs in cache, on a machine whose speed drifts. BP is what people use: a forward pass and autograd.
Batch 64, 784 inputs, 10 outputs, float32.
"""

from __future__ import annotations

# Before torch is loaded: it says how long torch's threads spin.
from pcbench.backends.torch import LayeredModel, TorchBackend

# isort: split
import resource
from collections.abc import Callable, Sequence
from statistics import median
from time import perf_counter

import numpy as np
import torch

from pcbench.contract import (
    ExactInference,
    GaussNewtonInference,
    GradientInference,
    InferenceSettings,
)
from pcbench.networks import ActivationName, LecunNormal, NetworkSpec

BATCH, INPUTS, OUTPUTS = 64, 784, 10
BLOCKS, BLOCK = 30, 10
STEPS, MOST_STEPS = (0.2, 0.3, 0.4, 0.5), 3_000
NEVER = 1e-300  # a residual that stops no engine


def side_by_side(
    *works: Callable[[], object], blocks: int = BLOCKS, calls: Sequence[int] = ()
) -> list[list[float]]:
    """Time works in alternating blocks; seconds a call, one entry a block.

    ``calls`` says how often each work is done in its block, where they differ too much in length.
    """
    times: list[list[float]] = [[] for _ in works]
    for block in range(-2, blocks):
        for work, count, samples in zip(works, calls or [BLOCK] * len(works), times, strict=True):
            start = perf_counter()
            for _ in range(count):
                work()
            if block >= 0:
                samples.append((perf_counter() - start) / count)
    return times


def problem(
    hidden_layers: int, width: int, activation: ActivationName = "identity"
) -> tuple[LayeredModel, torch.Tensor, torch.Tensor]:
    """Draw a network and a batch."""
    rng = np.random.default_rng(0)
    network = NetworkSpec((INPUTS, *(width,) * hidden_layers, OUTPUTS), activation)
    backend = TorchBackend("cpu", "float32")
    model = backend.build(network, LecunNormal().draw(network, rng))
    x = backend.to_device(rng.standard_normal((BATCH, INPUTS)))
    y = backend.to_device(np.eye(OUTPUTS)[rng.integers(0, OUTPUTS, BATCH)])
    return model, x, y


def exact_against_bp(hidden_layers: int) -> None:
    """Exact inference in units of a BP step of the same linear network."""
    model, x, y = problem(hidden_layers, width=300)
    weights = [weight.clone().requires_grad_() for weight in model.weights]

    def bp_step() -> object:
        activity = x
        for weight in weights:
            activity = activity @ weight.T
        loss = (y - activity).square().sum() / (2 * BATCH)
        return torch.autograd.grad(loss, weights)

    exact, bp = side_by_side(lambda: model.infer(x, y, ExactInference()), bp_step)
    ratio = median(a / b for a, b in zip(exact, bp, strict=True))
    print(
        f"{hidden_layers:>4} hidden layers   exact {1e3 * median(exact):7.3f} ms   "
        f"BP {1e3 * median(bp):7.3f} ms   ratio {ratio:.2f}"
    )


def gauss_newton_against_gradient(hidden_layers: int) -> None:
    """Time of each to a relative energy error of 1e-6, gradient inference at its best fixed step.

    Steps are counted in float64, which can tell energies so close apart, and timed in float32.
    """
    model, x, y = problem(hidden_layers, width=300, activation="tanh")
    double = in_double(model)

    def energies(settings: InferenceSettings) -> list[float]:
        path = double.infer(x.double(), y.double(), settings).path
        return [] if path is None else path.sum(-1).tolist()

    def seconds(settings: InferenceSettings) -> float:
        start = perf_counter()
        model.infer(x, y, settings)
        return perf_counter() - start

    def first_within(path: list[float]) -> int | None:
        within = (step for step, energy in enumerate(path) if energy <= allowed)
        return next(within, None)

    path = energies(GaussNewtonInference(residual=NEVER, max_steps=60, record=True))
    allowed = path[-1] * (1 + 1e-6)
    steps = first_within(path) or 60
    newton = median(
        seconds(GaussNewtonInference(residual=NEVER, max_steps=steps)) for _ in range(7)
    )
    print(f"{hidden_layers:>4} hidden layers   gauss_newton {1e3 * newton:8.1f} ms, {steps} steps")

    found: dict[float, int] = {}
    for size in STEPS:
        run = GradientInference(step=size, max_steps=MOST_STEPS, residual=NEVER, record=True)
        if (count := first_within(energies(run))) is not None:
            found[size] = count
    if not found:
        print(f"      gradient: not within {MOST_STEPS} steps of {STEPS}")
        return
    size = min(found, key=lambda size: found[size])
    taken = seconds(GradientInference(step=size, max_steps=found[size], residual=NEVER))
    print(
        f"      gradient at step {size}, the best: {taken:.2f} s, {found[size]} steps; "
        f"{taken / newton:.0f} times as long"
    )


def in_double(model: LayeredModel) -> LayeredModel:
    """Return the same network in float64."""
    widths = (INPUTS, *(weight.shape[0] for weight in model.weights))
    weights = [weight.double().numpy() for weight in model.weights]
    return TorchBackend("cpu", "float64").build(NetworkSpec(widths, "tanh"), weights)


def memory(hidden_layers: int, width: int) -> None:
    """Peak memory of the whole process with a large network, exactly relaxed."""
    model, x, y = problem(hidden_layers, width)
    model.infer(x, y, ExactInference())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"peak memory, {hidden_layers} hidden layers of {width}: {peak:.2f} GiB")


if __name__ == "__main__":
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, float32, batch {BATCH}")
    print("exact inference against BP, linear, width 300")
    for depth in (2, 5, 10, 30, 100):
        exact_against_bp(depth)
    print("to a relative energy error of 1e-6, tanh, width 300")
    for depth in (10, 30):
        gauss_newton_against_gradient(depth)
    memory(100, 1000)
