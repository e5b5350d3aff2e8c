"""What a case asks of a backend, and whether a mistake changed any answer.

A fault that changes no answer is no test of a suite: a derivative that is forgotten makes no
difference where all activations are the identity. So until the first difference a witness asks
the correct backend the same question and compares, number for number; after it, nothing is
compared.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from pcbench.audit.testimony import Testimony, same
from pcbench.audit.traits import network_uses
from pcbench.audit.witnessed import WitnessedModel
from pcbench.audit.wrappers import FaultyBackend, Host
from pcbench.contract import Backend, Model
from pcbench.networks import NetworkSpec


class Witness(FaultyBackend):
    """Passes questions on to a backend and keeps what it sees.

    Parameters
    ----------
    judged
        Who answers.
    correct
        Who knows better; ``None`` where nothing is to be compared.
    deadline
        When no further question is taken, in seconds of :func:`time.monotonic`.
    """

    def __init__(
        self,
        judged: Backend[Any],
        correct: Backend[Any] | None = None,
        deadline: float = math.inf,
    ) -> None:
        super().__init__(judged)
        self.correct, self.testimony = correct, Testimony(deadline)

    def build(self, network: NetworkSpec, parameters: Sequence[Host]) -> Model[Any]:
        """Build the model that is judged, and the correct one."""
        uses = network_uses(network, parameters)
        self.testimony.note("build", uses)
        correct = None
        if self.correct is not None and not self.testimony.differs:
            correct = self.correct.build(network, parameters)
        judged = FaultyBackend(self.inner).model(network, parameters)
        return WitnessedModel(judged, correct, self.testimony, uses, self.correct)

    def to_device(self, array: Host) -> Any:
        """Stage an array."""
        return self._compared("to_device", lambda backend: backend.to_device(array))

    def to_host(self, array: Any) -> Host:
        """Bring an array to the host."""
        found: Host = self._compared("to_host", lambda backend: backend.to_host(array))
        return found

    def _compared(self, method: str, ask: Callable[[Backend[Any]], Any]) -> Any:
        self.testimony.note(method, frozenset())
        found = ask(self.inner)
        if self.correct is not None and not self.testimony.differs:
            self.testimony.differs = not same(found, ask(self.correct), self.inner.to_host)
        return found
