"""The faults that there are: pcbench's own, and those of plug-ins.

A fault is a class: a subclass of :class:`FaultyBackend`, :class:`FaultyModel` or
:class:`FaultyTrainer`, whose docstring says the mistake; :mod:`pcbench.audit.tables` makes such
classes of the rows of a table. The entry-point group ``pcbench.faults`` names such classes, or
sequences of them.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pcbench.audit.trainer import FaultyTrainer
from pcbench.audit.traits import Trait
from pcbench.audit.witness import Occasion
from pcbench.audit.wrappers import QUESTIONS, FaultyBackend, FaultyModel
from pcbench.contract import Backend
from pcbench.contract.inference import capabilities
from pcbench.contract.parts import Part
from pcbench.registry import FAULTS, BrokenPluginError

Mistaken = type[FaultyBackend] | type[FaultyModel] | type[FaultyTrainer]

_OF_BACKENDS = ("build", "to_device", "to_host")


@dataclass(frozen=True, slots=True)
class Fault:
    """One mistake."""

    name: str  # that of its class
    mistake: str  # what is wrong, in a sentence
    part: Part  # what of the contract it corrupts
    needs: frozenset[str]  # what has to be in use for it to be made at all
    methods: frozenset[str]  # of the contract, whose answers it may change
    plugin: str  # the entry point that it came by
    _made_by: Mistaken

    @classmethod
    def of(cls, mistaken: Any, plugin: str = "") -> Fault:
        """Describe a class, which may be anybody's.

        Raises
        ------
        BrokenPluginError
            If it is no fault, says no mistake or names no part.
        """
        kinds = (FaultyBackend, FaultyModel, FaultyTrainer)
        if not (isinstance(mistaken, type) and issubclass(mistaken, kinds)):
            raise BrokenPluginError(
                f"the fault {plugin!r} is {mistaken!r}, not a subclass of FaultyModel, "
                "FaultyBackend or FaultyTrainer, nor a sequence of such"
            )
        name = mistaken.__name__
        mistake = (inspect.cleandoc(mistaken.__doc__ or "")).split("\n\n")[0]
        if not mistake:
            raise BrokenPluginError(f"the fault {name!r} has no docstring to say its mistake")
        part = getattr(mistaken, "part", None)
        if not isinstance(part, Part):
            raise BrokenPluginError(f"the fault {name!r} has no 'part': name one of pcbench.Part")
        needs = mistaken.needs
        if not isinstance(needs, frozenset | set) or not needs <= {*capabilities(), *Trait}:
            raise BrokenPluginError(
                f"the fault {name!r} has 'needs' that are no set of Capability and Trait: {needs!r}"
            )
        methods = _methods(mistaken)
        if not methods:
            raise BrokenPluginError(f"the fault {name!r} overrides no method of the contract")
        sentence = " ".join(mistake.replace("``", "").split())
        return cls(name, sentence, part, frozenset(map(str, needs)), methods, plugin, mistaken)

    def put_into(self, correct: Backend[Any]) -> FaultyBackend:
        """Return a backend with the mistake around a correct one."""
        return put(self._made_by, correct)

    def beside(self, correct: Backend[Any]) -> Backend[Any]:
        """Return the backend whose answers only the mistake could change, number for number.

        A faulty trainer is one of NumPy, and rounds otherwise than the backend's own.
        """
        trains = issubclass(self._made_by, FaultyTrainer)
        return put(FaultyTrainer, correct) if trains else correct

    def may_show(self, occasions: Iterable[Occasion]) -> bool:
        """Whether questions of these sorts can meet the mistake."""
        return any(method in self.methods and self.needs <= uses for method, uses in occasions)


def put(mistaken: Mistaken, correct: Backend[Any]) -> FaultyBackend:
    """Return a backend with the mistake of a class around a correct one."""
    if issubclass(mistaken, FaultyBackend):
        return mistaken(correct)
    if issubclass(mistaken, FaultyTrainer):
        trainer = {"trainer": lambda model, *question, **named: mistaken(model, *question, **named)}
        return FaultyBackend(correct, type(mistaken.__name__, (FaultyModel,), trainer))
    return FaultyBackend(correct, mistaken)


def load_faults() -> list[Fault]:
    """Load the catalogue, by plug-in and in the order of each.

    Raises
    ------
    BrokenPluginError
        If a plug-in cannot be imported or holds what is no fault, or two faults have one name.
    """
    found: dict[str, Fault] = {}
    for plugin in FAULTS.names():
        loaded = FAULTS.load(plugin)
        members = loaded if isinstance(loaded, list | tuple) else [loaded]
        for fault in (Fault.of(member, plugin) for member in members):
            if fault.name in found:
                raise BrokenPluginError(
                    f"two faults are named {fault.name!r}: one of {found[fault.name].plugin!r}, "
                    f"one of {plugin!r}; rename one"
                )
            found[fault.name] = fault
    return list(found.values())


def _methods(mistaken: Mistaken) -> frozenset[str]:
    """Return the methods of the contract whose answers a class may change."""
    if issubclass(mistaken, FaultyTrainer):
        return frozenset({"trainer"})
    models = issubclass(mistaken, FaultyModel)
    base: type = FaultyModel if models else FaultyBackend
    names: Iterable[str] = QUESTIONS if models else _OF_BACKENDS
    own = {name for name in names if getattr(mistaken, name) is not getattr(base, name)}
    return frozenset(own.union(QUESTIONS) if "build" in own else own)
