import sys
from dataclasses import dataclass

import pytest

from pcbench.cli import main
from tests.helpers.command_line import OUTSIDE
from tests.helpers.toy_suites import ENERGY, write_suite


@dataclass
class Outcome:
    code: int
    out: str
    err: str


@pytest.fixture
def invoke(monkeypatch, capsys):
    """Run the command line in this process: the whole of it, but for the start of Python."""
    for name in OUTSIDE:
        monkeypatch.delenv(name, raising=False)

    def invoke(*arguments):
        monkeypatch.setattr(sys, "argv", ["pcbench", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return Outcome(ended.value.code or 0, out, err)

    return invoke


@pytest.fixture
def suite(tmp_path):
    """A valid suite of one case."""
    return write_suite(tmp_path / "suite.yaml", ENERGY)
