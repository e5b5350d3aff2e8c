"""The jax backend beside the torch backend: ``python benchmarks/jax_against_torch.py``.

One step of predictive coding without the update: exact inference, then the local gradients of the
energy. Linear networks, 784 inputs, hidden layers of 300, 10 outputs, batch 64, on the CPU. Both
are timed in alternating blocks of one process, each waited for, and the ratio is the median over
the blocks. JAX's first call, which compiles, is timed by itself. For the same number of cores for
both, run it under ``taskset -c 0``.
"""

from __future__ import annotations

# Before torch is loaded: it says how long torch's threads spin.
from pcbench.backends.torch import TorchBackend

# isort: split
from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import Any

import jax
import numpy as np
import torch

from pcbench.backends.jax import JaxBackend
from pcbench.contract import Backend, DType, ExactInference
from pcbench.networks import LecunNormal, NetworkSpec

BATCH, INPUTS, WIDTH, OUTPUTS = 64, 784, 300, 10
DEPTHS = (1, 2, 5, 10, 30)
BLOCKS, BLOCK = 30, 10


def step_of(backend: Backend[Any], hidden_layers: int) -> Callable[[], object]:
    """Return the step of a backend, on the same network and batch for all."""
    rng = np.random.default_rng(0)
    network = NetworkSpec((INPUTS, *(WIDTH,) * hidden_layers, OUTPUTS))
    model = backend.build(network, LecunNormal().draw(network, rng))
    x = backend.to_device(rng.standard_normal((BATCH, INPUTS)))
    y = backend.to_device(np.eye(OUTPUTS)[rng.integers(0, OUTPUTS, BATCH)])

    def step() -> object:
        gradients = model.energy_gradients(model.infer(x, y, ExactInference()).activities)
        backend.synchronize()
        return gradients

    return step


def seconds(work: Callable[[], object], calls: int = 1) -> float:
    """Time a call."""
    start = perf_counter()
    for _ in range(calls):
        work()
    return (perf_counter() - start) / calls


def main() -> None:
    """Print a line for each depth and dtype."""
    print(f"jax {jax.__version__}, torch {torch.__version__}, {torch.get_num_threads()} threads")
    dtypes: tuple[DType, ...] = ("float32", "float64")
    for dtype in dtypes:
        for depth in DEPTHS:
            ours, theirs = (
                step_of(backend, depth)
                for backend in (JaxBackend("cpu", dtype), TorchBackend("cpu", dtype))
            )
            first = seconds(ours)
            seconds(theirs)
            blocks = [(seconds(ours, BLOCK), seconds(theirs, BLOCK)) for _ in range(BLOCKS)]
            ratio = median(a / b for a, b in blocks)
            jaxs, torchs = (1e3 * median(column) for column in zip(*blocks, strict=True))
            print(
                f"{dtype} {depth:>3} hidden layers   jax {jaxs:7.3f} ms   torch {torchs:7.3f} ms   "
                f"ratio {ratio:.2f}   first call {first:.2f} s"
            )


if __name__ == "__main__":
    main()
