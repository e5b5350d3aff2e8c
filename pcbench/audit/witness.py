"""What a case asks of a backend, and whether a mistake changed any answer.

A fault that changes no answer is no test of a suite: a derivative that is forgotten makes no
difference where all activations are the identity. So until the first difference a witness asks
the correct backend the same question and compares, number for number; after it, nothing is
compared.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from pcbench.audit.traits import Trait, network_uses, settings_uses
from pcbench.audit.wrappers import FaultyBackend, FaultyModel, Host, put_question
from pcbench.contract import Backend, Capability, Hessian, Model, Record, Trainer
from pcbench.networks import NetworkSpec

_HESSIANS = {
    "loss_hessian": Capability.HESSIAN,
    "energy_hessian": Capability.HESSIAN,
    "unrolled_hessian": Capability.UNROLLED_HESSIAN,
}


class Occasion(NamedTuple):
    """A sort of question: the method of the contract, and the capabilities and traits it takes."""

    method: str
    uses: frozenset[str]


class OutOfTime(BaseException):
    """A case takes too long under a fault."""


class Witness(FaultyBackend):
    """Passes questions on to a backend and keeps what it sees.

    The answers of the ``tested`` backend count; they are compared with those of the ``correct``
    one, if there is one. After the ``deadline``, in seconds of :func:`time.monotonic`, no further
    question is taken. It keeps the ``occasions``, the sorts of questions asked, and whether some
    answer ``differs`` from that of the correct backend.
    """

    def __init__(
        self, tested: Backend[Any], correct: Backend[Any] | None = None, deadline: float = math.inf
    ) -> None:
        super().__init__(tested)
        self.correct, self.deadline = correct, deadline
        self.occasions: set[Occasion] = set()
        self.differs = False
        self.first_batch = 0

    def build(self, network: NetworkSpec, parameters: Sequence[Host]) -> Model[Any]:
        """Build the model that is tested, and the correct one."""
        uses = network_uses(network, parameters)
        self.note("build", uses)
        correct = None
        if self.correct is not None and not self.differs:
            correct = self.correct.build(network, parameters)
        tested = self.inner.build(network, parameters)
        return _Model(self, tested, correct, network, parameters, uses)

    def to_device(self, array: Host) -> Any:
        """Stage an array."""
        self.note("to_device", frozenset())
        return self.ask(lambda backend: backend.to_device(array), self.inner, self.correct)

    def to_host(self, array: Any) -> Host:
        """Bring an array to the host."""
        self.note("to_host", frozenset())
        found: Host = self.ask(lambda backend: backend.to_host(array), self.inner, self.correct)
        return found

    def note(self, method: str, uses: frozenset[str]) -> None:
        """Keep what is asked.

        Raises
        ------
        OutOfTime
            After the deadline.
        """
        self.occasions.add(Occasion(method, uses))
        if time.monotonic() > self.deadline:
            raise OutOfTime

    def ask(self, question: Callable[[Any], Any], tested: Any, correct: Any) -> Any:
        """Return the answer of the tested one, and keep whether it is another than is correct."""
        return self.both(question, tested, correct)[0]

    def both(self, question: Callable[[Any], Any], tested: Any, correct: Any) -> tuple[Any, Any]:
        """Return the answers of the tested one and, until they differ once, of the correct one.

        The correct one is asked first: a mistake may be to write into what it was given. If one of
        them refuses, and the other does not, they differ; if both refuse, they are alike.
        """
        if correct is None or self.differs:
            return question(tested), None
        try:
            expected = question(correct)
        except Exception:  # however a backend refuses
            found = question(tested)
            self.differs = True
            return found, None
        try:
            found = question(tested)
        except Exception:
            self.differs = True
            raise
        self.differs = not same(found, expected, self.inner.to_host)
        return found, expected


class _Model(FaultyModel):
    def __init__(
        self,
        witness: Witness,
        tested: Model[Any],
        correct: Model[Any] | None,
        network: NetworkSpec,
        parameters: Sequence[Host],
        uses: frozenset[str],
    ) -> None:
        super().__init__(tested, witness.inner, network, parameters, {})
        self.witness, self._correct, self._uses = witness, correct, uses
        self._asked_for = set[str]()

    def ask(self, method: str, arguments: Mapping[str, Any]) -> Any:
        """Pass a question on, to the correct model as well, and compare."""
        witness = self.witness
        named = {name: value for name, value in arguments.items() if value is not None}
        lent = [named[name] for name in ("x", "y", "precision") if name in named]
        lent[:0] = named.get("activities", ())
        uses = self._uses_of(method, named, lent[0])
        witness.note(method, uses)

        def put(model: Model[Any]) -> Any:
            backend = (model is self._correct and witness.correct) or self.backend
            answer = put_question(model, backend, method, named)
            return list(answer) if method.endswith("gradients") else answer

        comparing = self._correct is not None and not witness.differs
        before = [np.array(self.host(each)) for each in lent] if comparing else []
        found, expected = witness.both(put, self.inner, self._correct)
        if method in _HESSIANS:
            return _Hessian(self, found, expected)
        if comparing:
            after = [np.array(self.host(each)) for each in lent]
            witness.differs |= not same(before, after, self.host)
        if method == "trainer":
            return _Trainer(self, found, expected)
        if method == "infer" and not found.converged:
            settled = {Trait.ASKED_AGAIN, Trait.OTHER_BATCH}
            witness.note("infer", (uses - settled) | {Trait.UNFINISHED})
        return found

    def beside(self, tested: Model[Any], correct: Model[Any] | None) -> Model[Any]:
        """Return another model of this network, such as the one that a trainer has come to."""
        return _Model(self.witness, tested, correct, self.network, self.parameters, self._uses)

    def _uses_of(self, method: str, named: Mapping[str, Any], first: Any) -> frozenset[str]:
        """Return what an answer takes."""
        uses = set(self._uses)
        if method in self._asked_for:
            uses.add(Trait.ASKED_AGAIN)
        self._asked_for.add(method)
        if "precision" in named:
            uses.add(Capability.PRECISION)
        if "settings" in named:
            uses |= settings_uses(named["settings"])
        if method in _HESSIANS:
            uses.add(_HESSIANS[method])
        elif method != "trainer":
            samples = self.host(first).shape[-2]
            self.witness.first_batch = self.witness.first_batch or samples
            if samples != self.witness.first_batch:
                uses.add(Trait.OTHER_BATCH)
        return frozenset(uses)


class _Held:
    """An answer that can itself be asked: a Hessian or a trainer."""

    def __init__(self, begun: _Model, tested: Any, correct: Any) -> None:
        self._begun, self._tested, self._correct = begun, tested, correct

    def _ask(self, question: Callable[[Any], Any]) -> Any:
        return self._begun.witness.ask(question, self._tested, self._correct)


class _Hessian(_Held, Hessian[Any]):
    @property
    def residual(self) -> float:  # type: ignore[override]
        residual: float = self._tested.residual
        return residual

    def product(self, vectors: Any) -> Any:
        return self._ask(lambda hessian: (hessian.product(vectors), hessian.residual))[0]


class _Trainer(_Held, Trainer[Any]):
    @property
    def model(self) -> Model[Any]:  # type: ignore[override]
        known = None if self._begun.witness.differs else self._correct
        return self._begun.beside(self._tested.model, known.model if known else None)

    def run(
        self, steps: int, batches: Int[np.ndarray, "T *#R N"] | None = None, every: int = 1
    ) -> Record:
        found: Record = self._ask(lambda trainer: trainer.run(steps, batches, every))
        return found

    def parameters(self) -> list[Float[np.ndarray, "*R ..."]]:
        found: list[Host] = self._ask(lambda trainer: trainer.parameters())
        return found

    def keep(self, replicas: Sequence[int]) -> None:
        self._ask(lambda trainer: trainer.keep(replicas))


def same(one: Any, other: Any, to_host: Callable[[Any], Host]) -> bool:
    """Whether two answers are the same, number for number.

    Zero is zero, of either sign, and what is no number is the same as itself. Answers are arrays of
    a backend or of NumPy, numbers, and sequences and dataclasses of such; Hessians and trainers are
    not compared, but what they are asked later.
    """
    if isinstance(one, Hessian | Trainer):
        return True
    one, other = (each.item() if isinstance(each, np.generic) else each for each in (one, other))
    if is_dataclass(one) and type(one) is type(other):
        one, other = ([getattr(a, f.name) for f in fields(a)] for a in (one, other))
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        pairs = zip(one, other, strict=False)
        return len(one) == len(other) and all(same(a, b, to_host) for a, b in pairs)
    if one is None or other is None or isinstance(one, bool | int | float | str):
        return type(one) is type(other) and (one == other or (one != one and other != other))
    one, other = (a if isinstance(a, np.ndarray) else np.array(to_host(a)) for a in (one, other))
    return np.array_equal(one, other, equal_nan=True)
