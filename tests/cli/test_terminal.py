"""On a terminal: colours unless NO_COLOR says otherwise, and a live display of progress."""

import os
import re
import subprocess

import pytest

from tests.helpers.command_line import PCBENCH, environment
from tests.helpers.toy_suites import ENERGY, write_suite

pty = pytest.importorskip("pty", reason="this system has no pseudo-terminals")

CONTROL = re.compile(r"\x1b\[[\d;?]*[A-Za-z]")
COLOUR = re.compile(r"\x1b\[(?:\d+;)*(?:3[0-79]|4[0-79]|9[0-7]|38;[\d;]+)(?:;\d+)*m")


def on_terminal(*arguments, **variables):
    """Run `pcbench` with both of its outputs on a terminal, and return all that it showed."""
    ours, theirs = pty.openpty()
    variables = environment(TERM="xterm-256color", COLUMNS="200", **variables)
    process = subprocess.Popen(
        [*PCBENCH, *map(str, arguments)], stdout=theirs, stderr=theirs, env=variables
    )
    os.close(theirs)
    shown = b""
    try:
        while piece := os.read(ours, 65536):
            shown += piece
    except OSError:  # how Linux says that the other end is closed
        pass
    finally:
        os.close(ours)
        assert process.wait(timeout=60) == 0
    return shown.decode()


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    return write_suite(tmp_path_factory.mktemp("terminal") / "suite.yaml", ENERGY)


@pytest.fixture(scope="module")
def shown(suite):
    return on_terminal("run", suite)


def test_a_terminal_gets_colours(shown):
    assert COLOUR.search(shown)


def test_a_terminal_shows_the_case_and_its_stage_while_they_run(shown):
    live = CONTROL.sub("", shown[: shown.index("float64 · seed 0")])
    assert re.search(r"cases +━+ 1/1", live)
    assert re.search(r"energy: training +━+ 3/3", live)


def test_no_color_is_honoured(suite):
    shown = on_terminal("run", suite, NO_COLOR="1")
    assert "1 passed, 0 failed" in shown
    assert not COLOUR.search(shown)
