"""Check whether an implementation of predictive coding networks does what the theory proves.

``pcbench.run("theory")`` runs a suite and returns its :class:`Report`. To add a kind of case, a
dataset or a backend, subclass :class:`Case`, :class:`Dataset` or :class:`Backend`, and name the
class under the entry point ``pcbench.cases``, ``pcbench.datasets`` or ``pcbench.backends``. All
that a case needs besides is in ``pcbench.case``.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pcbench._version import __version__

if TYPE_CHECKING:
    from pcbench.api import audit as audit_suites
    from pcbench.api import run
    from pcbench.case import Case
    from pcbench.checks import Check
    from pcbench.compare import compare as compare_reports
    from pcbench.contract import Backend
    from pcbench.data import Dataset
    from pcbench.errors import UsageError
    from pcbench.report import Report, read_report, write_report

__all__ = [
    "Backend",
    "Case",
    "Check",
    "Dataset",
    "Report",
    "UsageError",
    "__version__",
    "audit_suites",
    "compare_reports",
    "read_report",
    "run",
    "write_report",
]

# Imported when first asked for: `pcbench --help` must not pay for NumPy, and never for torch.
_HOMES = {
    "Backend": ("pcbench.contract", "Backend"),
    "Case": ("pcbench.case", "Case"),
    "Check": ("pcbench.checks", "Check"),
    "Dataset": ("pcbench.data", "Dataset"),
    "Report": ("pcbench.report", "Report"),
    "UsageError": ("pcbench.errors", "UsageError"),
    # Not `audit` or `compare`: importing the subpackage of that name would take its place.
    "audit_suites": ("pcbench.api", "audit"),
    "compare_reports": ("pcbench.compare", "compare"),
    "read_report": ("pcbench.report", "read_report"),
    "run": ("pcbench.api", "run"),
    "write_report": ("pcbench.report", "write_report"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'pcbench' has no attribute {name!r}")
    module, attribute = _HOMES[name]
    return getattr(import_module(module), attribute)
