"""Faults of the audit's catalogue as backends that are found by name."""

from pcbench.audit import FaultyBackend
from pcbench.audit.catalogue import put
from pcbench.audit.faults import FAULTS
from pcbench.backends.torch import TorchBackend

CATALOGUE = {fault.__name__: fault for fault in FAULTS}


def as_backend(mistaken):
    """Return a PyTorch backend with a mistake, one of the catalogue by its name, like any other."""
    mistaken = CATALOGUE[mistaken] if isinstance(mistaken, str) else mistaken

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
    made = map(as_backend, mistaken)
    return {each.__name__: each for each in made}
