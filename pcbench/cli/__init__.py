"""The command line: commands, their progress, and what they print."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from contextlib import suppress
from io import TextIOWrapper

from pcbench.cli import commands, data, looking  # noqa: F401 - they add themselves to the app
from pcbench.cli.options import app
from pcbench.errors import UsageError

BROKEN_PIPE = 141
"""The exit code that shells give where whoever reads the output is gone."""


def main() -> None:
    """Run the command line; what the user got wrong becomes a sentence and exit code 2."""
    stdout = sys.stdout
    if isinstance(stdout, TextIOWrapper):
        # Where the encoding has no "∂", escape it instead of failing.
        stdout.reconfigure(errors="backslashreplace")
    try:
        app(prog_name="pcbench")  # also where it is started as `python -m pcbench`
    except UsageError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    except SystemExit as end:
        # Typer has wrapped it, and made 1 of it, where whoever read it has read enough.
        sys.exit(end.code if sys.stdout is stdout else BROKEN_PIPE)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            traceback.print_exc()
            sys.exit(3)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        with suppress(OSError):
            print("the disk is full, and the output is cut off; free some space", file=sys.stderr)
        sys.exit(2)
    except Exception:  # a bug, not a verdict, and 1 is the code of a verdict
        traceback.print_exc()
        sys.exit(3)
