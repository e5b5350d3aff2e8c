"""The command line: commands, their progress, and what they print."""

from __future__ import annotations

import errno
import os
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
    except BrokenPipeError:  # whoever read it has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            traceback.print_exc()
            sys.exit(3)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        print(
            "standard output cannot be written: the disk is full; free some space", file=sys.stderr
        )
        sys.exit(2)
    except Exception:  # a bug, not a verdict, and 1 is the code of a verdict
        traceback.print_exc()
        sys.exit(3)
