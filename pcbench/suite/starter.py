"""The suite that ``pcbench init`` writes."""

from __future__ import annotations

from pathlib import Path

from pcbench.errors import UsageError

TEMPLATE = Path(__file__).with_suffix(".yaml")


def write_starter(file: Path) -> None:
    """Write a commented suite to a file that does not exist yet.

    Raises
    ------
    UsageError
        If the file is there already, or cannot be written.
    """
    text = TEMPLATE.read_text(encoding="utf-8")
    try:
        with file.open("x", encoding="utf-8", newline="\n") as stream:
            stream.write(text)
    except FileExistsError:
        raise UsageError(f"{file} exists, and is left as it is; name another file") from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError(f"{file} cannot be written: {reason}; choose another place") from None
