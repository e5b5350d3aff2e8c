"""The trainer that faulty ones are made of has no mistake: conformance has nothing against it."""

import pytest

from pcbench.audit import FaultyTrainer
from pcbench.audit.catalogue import put
from pcbench.backends.torch import TorchBackend
from tests.cases.conformance.questions import ask

pytestmark = pytest.mark.usefixtures("without_shapes")


class Wrapped(TorchBackend):
    """The correct backend, whose trainers are of NumPy."""

    def __init__(self, device="cpu", dtype="float64"):
        super().__init__(device, dtype)
        self.wrapped = put(FaultyTrainer, TorchBackend(device, dtype))

    def build(self, network, parameters):
        return self.wrapped.build(network, parameters)

    def trainer(self, *question):
        return self.wrapped.trainer(*question)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("question", ["training", "training-by-steps", "masked-training"])
def test_a_trainer_without_a_mistake_passes(question, dtype):
    result = ask(Wrapped, question, dtype)
    assert (result.status, result.message) == ("passed", "")
