"""The PyTorch backend: closed-form, batched over replicas, on CPU, CUDA or MPS."""

import os

# Before torch loads its OpenMP runtime: threads that wait must sleep. By default they spin, and as
# soon as anything else runs on the machine, a network of small layers computes fifty times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from pcbench.backends.torch.backend import TorchBackend
from pcbench.backends.torch.model import LinearModel

__all__ = ["LinearModel", "TorchBackend"]
