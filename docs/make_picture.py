"""Make the README's picture, ``docs/theory.svg``, from a real run: ``python docs/make_picture.py``.

Some cases of the suite ``theory`` on the PyTorch backend: as it is, and with two mistakes put in.
"""

from __future__ import annotations

import re
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.terminal_theme import SVG_EXPORT_THEME
from rich.text import Text

import pcbench
from pcbench.backends.torch import TorchBackend
from pcbench.registry import BACKENDS
from pcbench.report.model import CaseResult
from pcbench.report.text import network_shape

PICTURE = Path(__file__).with_name("theory.svg")
WIDTH = 110
"""Of the picture, in characters."""

CASES = {
    "equilibrated-energy[data=toy_gaussian,hidden_layers=1]": "Theorem 1: energy",
    "equilibrated-energy[data=toy_gaussian,hidden_layers=2]": "Theorem 1: energy",
    "origin-2d[widths=10]": "Theorem 2: origin",
    "origin-3d": "Theorem 2: origin",
    "saddle-3d[initialisation=penultimate_only]": "Theorem 3: saddle",
    "saddle-3d-mixed[initialisation=zero_rank]": "Theorem 3: saddle",
}
SELECTED = (
    "toy_gaussian and (origin-2d or origin-3d or saddle-3d or "
    "equilibrated-energy and (hidden_layers=1] or hidden_layers=2))"
)


class HalfForgotten(TorchBackend):
    """The energy that inference reports lacks its factor ½."""

    def build(self, network: Any, parameters: Any) -> Any:
        """Build the correct model, and double the energies."""
        model: Any = super().build(network, parameters)
        infer = model.infer

        def doubled(*arguments: Any) -> Any:
            found = infer(*arguments)
            return replace(found, energies=2 * found.energies)

        model.infer = doubled
        return model


class HessianOfTheLoss(TorchBackend):
    """Asked for the Hessian of the energy, the model returns that of the loss."""

    def build(self, network: Any, parameters: Any) -> Any:
        """Build the correct model, and exchange the Hessian."""
        model: Any = super().build(network, parameters)
        model.energy_hessian = lambda z, *_, **__: model.loss_hessian(z[0], z[-1])
        return model


BACKENDS_BY_TITLE = {
    "torch": TorchBackend,
    "torch, a factor ½ of the energy forgotten": HalfForgotten,
    "torch, the loss's Hessian for the energy's": HessianOfTheLoss,
}


def draw() -> str:
    """Run the cases on each backend, and return the table as SVG."""
    table = Table("pcbench run theory", "network", title_style="bold", expand=True)
    columns = []
    for title, backend in BACKENDS_BY_TITLE.items():
        BACKENDS.add("drawn", backend)
        report = pcbench.run(
            "theory",
            select=SELECTED,
            backend="drawn",
            settings={"training.steps": 2},
        )
        table.add_column(title)
        columns.append({case.id: case for case in report.cases})
    for case, theorem in CASES.items():
        network = network_shape(columns[0][case].parameters)
        table.add_row(theorem, network, *(verdict(column[case]) for column in columns))
    console = Console(file=StringIO(), record=True, width=WIDTH, force_terminal=True)
    console.print(table)
    svg = console.export_svg(title="", theme=SVG_EXPORT_THEME, unique_id="pcbench")
    # Without the fonts that it would fetch from elsewhere: any monospaced one will do.
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    return "\n".join(line.rstrip() for line in svg.splitlines()) + "\n"


def verdict(case: CaseResult) -> Text:
    """Say how many checks passed; if one failed, what it expects and what was observed."""
    failed = [check for check in case.checks if check.status == "failed"]
    if not failed:
        assert case.status == "passed", case.message
        return Text("passed", "green") + Text(f", {len(case.checks)} checks")
    first = max(failed, key=lambda check: abs(check.margin or 0))
    numbers = f"{first.name}:\n{first.observed:.4f}, expected {first.expected:.4f}"
    return Text("failed", "bold red") + Text(f", {len(failed)} of {len(case.checks)}\n{numbers}")


if __name__ == "__main__":
    PICTURE.write_text(draw(), encoding="utf-8")
