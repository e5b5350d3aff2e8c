"""The command line: a file for each command, without logic of its own.

Each command imports what it needs when it runs, so that ``pcbench --help`` costs what typer costs.
"""

from __future__ import annotations

import sys
import traceback
from io import TextIOWrapper

from typer import Typer

from pcbench.cli import commands
from pcbench.errors import UsageError

app = Typer(
    name="pcbench",
    help="Does an implementation of predictive coding do what the theory proves?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
commands.register(app)


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
