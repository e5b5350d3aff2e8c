"""``pcbench backends``: what every backend offers, or why it is not available."""

from __future__ import annotations

import sys


def backends() -> None:
    """List the backends: versions, devices, capabilities, or why one is not available."""
    from pcbench.cli.sections.backends import render_backends
    from pcbench.report.layout import make_console
    from pcbench.runner.survey import survey_backends

    render_backends(list(survey_backends()), make_console(sys.stdout))
