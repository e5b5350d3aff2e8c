"""Faults of the audit's catalogue as backends that are found by name."""

from pcbench.audit import FaultyBackend
from pcbench.audit.catalogue import put
from pcbench.backends.torch import TorchBackend


def as_backend(mistaken):
    """Return a PyTorch backend with a mistake, made like any other."""

    class Catalogued(FaultyBackend):
        def __init__(self, device="cpu", dtype="float64"):
            super().__init__(put(mistaken, TorchBackend(device, dtype)))

        def build(self, network, parameters):
            return self.inner.build(network, parameters)

        def trainer(self, *question):
            return self.inner.trainer(*question)

    Catalogued.__name__, Catalogued.__doc__ = mistaken.__name__, mistaken.__doc__
    return Catalogued


def as_backends(*mistaken):
    """Return such backends by name."""
    return {each.__name__: as_backend(each) for each in mistaken}
