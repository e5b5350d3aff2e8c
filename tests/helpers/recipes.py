"""The examples of CONTRIBUTING.md, as they stand."""

import re
from pathlib import Path

CONTRIBUTING = Path(__file__).parents[2] / "CONTRIBUTING.md"


def recipe(heading):
    """Run the example under a heading, and return what it defines."""
    section = CONTRIBUTING.read_text("utf-8").partition(f"## {heading}\n")[2].partition("\n## ")[0]
    [code] = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    defined = {"__name__": "recipe"}
    exec(compile(code, f"{CONTRIBUTING.name}: {heading}", "exec"), defined)
    return defined
