"""The trainer that faulty ones are made of has no mistake: conformance has nothing against it."""

import pytest

from pcbench.audit import FaultyTrainer
from pcbench.audit.catalogue import put
from pcbench.backends.torch import TorchBackend
from tests.cases.conformance.questions import ask

pytestmark = pytest.mark.usefixtures("without_shapes")


class Wrapped(TorchBackend):
    """The correct backend, whose trainers are of NumPy."""

    def build(self, network, parameters):
        honest = TorchBackend(self.device, self.dtype)
        return put(FaultyTrainer, honest).build(network, parameters)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("question", ["training", "training-by-steps", "masked-training"])
def test_a_trainer_without_a_mistake_passes(question, dtype):
    result = ask(Wrapped, question, dtype)
    assert (result.status, result.message) == ("passed", "")
