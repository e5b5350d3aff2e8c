"""Seeded faults, and which check catches which: the audit that judges a suite.

A fault is a correct backend with one deliberate mistake (:class:`FaultyModel`,
:class:`FaultyBackend`, :class:`FaultyTrainer`); :func:`audit_suites` runs the cases of suites with
each. Renderings are in :mod:`pcbench.audit.console`.
"""

from pcbench.audit.catalogue import Fault, load_faults
from pcbench.audit.model import Audit, AuditedCase, FaultResult, Outcome, Score, audit_schema
from pcbench.audit.run import AuditObserver, IncorrectBackendError, audit_suites
from pcbench.audit.trainer import FaultyTrainer
from pcbench.audit.traits import Trait
from pcbench.audit.wrappers import FaultyBackend, FaultyModel
from pcbench.contract.parts import Part

__all__ = [
    "Audit",
    "AuditObserver",
    "AuditedCase",
    "Fault",
    "FaultResult",
    "FaultyBackend",
    "FaultyModel",
    "FaultyTrainer",
    "IncorrectBackendError",
    "Outcome",
    "Part",
    "Score",
    "Trait",
    "audit_schema",
    "audit_suites",
    "load_faults",
]
