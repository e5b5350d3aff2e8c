"""The command line: commands, their progress, and what they print."""

from __future__ import annotations

import sys
import traceback
from io import TextIOWrapper

from pcbench.cli.commands import app
from pcbench.errors import UsageError


def main() -> None:
    """Run the command line; what the user got wrong becomes a sentence and exit code 2."""
    if isinstance(sys.stdout, TextIOWrapper):
        # Where the encoding has no "∂", escape it instead of failing.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        app(prog_name="pcbench")  # also where it is started as `python -m pcbench`
    except UsageError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception:  # a bug, not a verdict, and 1 is the code of a verdict
        traceback.print_exc()
        sys.exit(3)
