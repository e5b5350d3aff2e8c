"""Cases that do what a test tells them to, and a backend that only remembers what it was asked."""

from pathlib import Path
from typing import ClassVar

from pcbench import checks
from pcbench.case import Case, CaseParameters
from pcbench.checks import Tolerance
from pcbench.claims import Claim
from pcbench.contract import Backend, Capability
from pcbench.suite import PlannedCase, Suite

PASSED = checks.approx("energy", 1.0, 1.0, Tolerance(0.1, "a test"), source="Theorem 0")
UNDECIDED = checks.undecided("prediction", "No bound is known.", source="Theorem 0")
FAILED = checks.approx("loss", 1.0, 2.0, Tolerance(0.1, "a test"), source="Theorem 0")

OPEN = Claim(
    name="PC is sooner",
    setting="matched",
    verdict="unresolved",
    low=0.0,
    estimate=None,
    high=None,
    confidence=0.95,
    pairs=6,
    required=True,
    source="figure 2",
)


class RememberingBackend(Backend[object]):
    """Remembers every instance and call; subclassed for each test, so that none sees another's."""

    name = "remembering"
    capabilities = frozenset({Capability.HESSIAN})
    calls: ClassVar[list[tuple]]

    def __init__(self, device="cpu", dtype="float64"):
        super().__init__(device, dtype)
        self.calls.append(("made", device, dtype))

    def build(self, network, weights):
        raise NotImplementedError

    def to_device(self, array):
        return array

    def to_host(self, array):
        return array

    def describe(self):
        return {"device": self.device}

    def synchronize(self):
        self.calls.append(("synchronize",))

    def peak_memory(self):
        self.calls.append(("peak memory",))
        return 4096


def planned(run, case_id="scripted", *, kind=None, parameters=None, **settings):
    """Plan a case.

    ``run`` takes the context and yields findings; ``kind`` replaces the whole class.
    """

    class Scripted(Case[CaseParameters]):
        def run(self, context):
            return run(context)

    defaults = {"seed": 0, "dtype": "float64", "backend": "remembering", "device": "cpu"}
    return PlannedCase(
        id=case_id,
        kind="scripted",
        case=kind or Scripted,
        parameters=parameters or CaseParameters(),
        **{**defaults, **settings},
    )


def yielding(*findings, then=None):
    """Return a ``run`` that yields the findings and then raises what is given."""

    def run(context):
        yield from findings
        if then is not None:
            raise then

    return run


def suite_of(*cases):
    return Suite("scripted", "", cases, Path("scripted.yaml"))
