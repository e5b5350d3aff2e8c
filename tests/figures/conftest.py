"""The cases and reports that the tests of reports make, too."""

from tests.report.conftest import make_case, make_report

__all__ = ["make_case", "make_report"]
