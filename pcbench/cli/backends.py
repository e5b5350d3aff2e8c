"""``pcbench backends``: which backends can be used here, what they offer, and why one cannot."""

from __future__ import annotations

import sys


def backends() -> None:
    """List the backends: versions, devices, capabilities, or why one cannot be used."""
    from pcbench.cli.sections.backends import render_backends
    from pcbench.report.layout import make_console
    from pcbench.runner.survey import survey_backends

    render_backends(list(survey_backends()), make_console(sys.stdout))
