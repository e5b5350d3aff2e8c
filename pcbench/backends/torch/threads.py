"""How many CPU threads pay, for products as small as a network's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from pcbench.backends.torch.layer import Layer

# Below this many floating-point operations a product is done sooner by one thread than by two:
# measured at 64 × d · d × d, where the two meet at d = 200 in either dtype. Convolutions and
# products of many replicas gain from a second thread no later.
WORTH_SHARING = 5e6


@contextmanager
def threads_that_pay(layers: Sequence[Layer], rows: int, device: torch.device) -> Iterator[None]:
    """Compute with one thread where the network's largest product is not worth sharing.

    ``rows`` is how many vectors go through a layer at once: samples, times directions. The choice
    depends on shapes alone, never on the clock: the number of threads decides in which order a
    product sums, and the same run must give the same bits.
    """
    largest = 2 * rows * max(layer.affine.multiplications for layer in layers)
    if device.type != "cpu" or largest >= WORTH_SHARING:
        yield
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
