"""Exact inference against one BP step, side by side: ``python benchmarks/exact_inference.py``.

Both run in turn on the same network and batch, so that the ratio holds on a machine whose speed
drifts. BP is what people use: a forward pass and autograd. Batch 64, 784 inputs, 10 outputs,
float32.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from time import perf_counter

import numpy as np
import torch

from pcbench.backends import ExactInference
from pcbench.backends.torch import TorchBackend
from pcbench.networks import LecunNormal, NetworkSpec

BATCH, INPUTS, OUTPUTS, WIDTH = 64, 784, 10, 300
REPEATS, WARM_UP = 200, 20


def side_by_side(first: Callable[[], object], second: Callable[[], object]) -> list[list[float]]:
    """Time two things in turn; seconds, ``REPEATS`` of each."""
    times: list[list[float]] = [[], []]
    for repeat in range(WARM_UP + REPEATS):
        for work, samples in zip([first, second], times, strict=True):
            start = perf_counter()
            work()
            if repeat >= WARM_UP:
                samples.append(perf_counter() - start)
    return times


def compare(hidden_layers: int) -> None:
    """Print the median times and the median of the pairs' ratios for one depth."""
    rng = np.random.default_rng(0)
    network = NetworkSpec((INPUTS, *(WIDTH,) * hidden_layers, OUTPUTS))
    backend = TorchBackend("cpu", "float32")
    model = backend.build(network, LecunNormal().draw(network, rng))
    x = backend.to_device(rng.standard_normal((BATCH, INPUTS)))
    y = backend.to_device(np.eye(OUTPUTS)[rng.integers(0, OUTPUTS, BATCH)])
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


if __name__ == "__main__":
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, width {WIDTH}, float32")
    for depth in (2, 5, 10, 30):
        compare(depth)
