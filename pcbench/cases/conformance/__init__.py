"""The contract of a backend, on random networks of many shapes."""

from pcbench.cases.conformance.case import Conformance

__all__ = ["Conformance"]
