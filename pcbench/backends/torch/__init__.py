"""The PyTorch backend: closed-form, batched over replicas, on CPU, CUDA or MPS."""

import os

# Before torch loads its OpenMP runtime. Threads that wait for the next product spin, by default for
# as long as a dozen products take: as soon as anything else runs on the machine they spin in its
# way, and small layers compute fifty times slower. Asleep at once (OMP_WAIT_POLICY=PASSIVE), they
# are woken too late, at 100 µs a product. So: spin for about as long as one product takes.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")

from pcbench.backends.torch.backend import TorchBackend
from pcbench.backends.torch.model import LayeredModel

__all__ = ["LayeredModel", "TorchBackend"]
