"""What ``pcbench backends`` prints."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from pcbench.contract.inference import capabilities
from pcbench.report.layout import Column, plain, print_line, print_table
from pcbench.runner.survey import BackendSummary

_NONE = "–"


def render_backends(found: Sequence[BackendSummary], console: Console) -> None:
    """Print a row a backend, a table of capabilities, and why others cannot be had."""
    available = [backend for backend in found if not backend.unavailable]
    print_table(
        console,
        [Column(title) for title in ("backend", "package", "libraries", "devices", "dtypes")],
        [
            [
                plain(backend.name, "bold"),
                plain(backend.package or "this process"),
                plain(", ".join(backend.libraries) or _NONE),
                plain(", ".join(backend.devices)),
                plain(", ".join(backend.dtypes)),
            ]
            for backend in available
        ],
    )
    print_line(console)
    print_table(
        console,
        [Column("capability"), *(Column(backend.name) for backend in available)],
        [
            [
                plain(capability),
                *(
                    plain("yes", "green") if capability in backend.capabilities else plain(_NONE)
                    for backend in available
                ),
            ]
            for capability in capabilities()
        ],
    )
    for backend in found:
        if backend.unavailable:
            print_line(console)
            print_line(console, plain(f"{backend.name} is not available: {backend.unavailable}"))
