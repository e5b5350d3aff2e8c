"""The report of a run: its model, and how it is written and read.

:mod:`pcbench.report.console` prints it, and is imported where something is printed.
"""

from pcbench.report.merge import merge_reports
from pcbench.report.model import (
    SCHEMA_VERSION,
    CaseResult,
    CaseStatus,
    Environment,
    Report,
    Summary,
    Timing,
    report_schema,
)
from pcbench.report.storage import (
    UnreadableReportError,
    UnwritableOutputError,
    check_writable,
    read_report,
    report_text,
    write_report,
    write_text,
)

__all__ = [
    "SCHEMA_VERSION",
    "CaseResult",
    "CaseStatus",
    "Environment",
    "Report",
    "Summary",
    "Timing",
    "UnreadableReportError",
    "UnwritableOutputError",
    "check_writable",
    "merge_reports",
    "read_report",
    "report_schema",
    "report_text",
    "write_report",
    "write_text",
]
