"""The comparison on a terminal: every change with a sentence, worst first, and the verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from pcbench.report.text import plain, print_line, print_prose

if TYPE_CHECKING:
    from rich.console import Console

    from pcbench.compare.model import Change, Comparison, Effect, Side

_STYLES: dict[Effect, str] = {"worse": "bold red", "neutral": "yellow", "better": "green"}
_INDENT = 9


def render_comparison(comparison: Comparison, console: Console, *, quiet: bool = False) -> None:
    """Print a comparison; ``quiet`` leaves only what got worse, and the verdict."""
    if not quiet:
        _print_side("base", comparison.base, console)
        _print_side("new", comparison.new, console)
        console.print()
        for note in comparison.notes:
            print_prose(console, note)
        if comparison.notes:
            console.print()
    # Changes that say the same, such as another seed for every case, share their sentence.
    alike: dict[tuple[Effect, str], list[Change]] = {}
    for change in comparison.changes:
        if change.effect == "worse" or not quiet:
            alike.setdefault((change.effect, change.message), []).append(change)
    for (_, message), changes in alike.items():
        for change in changes:
            _print_head(change, console, comparison)
        names = [name for change in changes for name in (change.case, change.check)]
        print_prose(console, message, indent=_INDENT, names=names)
        console.print()
    print_line(console, _verdict(comparison))


def _print_side(title: str, side: Side, console: Console) -> None:
    aside = f"pcbench {side.pcbench} · {side.created}"
    print_line(console, plain(f"{title:<4}"), plain(side.suite, "bold"), plain(aside, "dim"))


def _print_head(change: Change, console: Console, comparison: Comparison) -> None:
    # Where all cases are of one suite, both headings name it.
    several = {comparison.base.suite, comparison.new.suite} != {change.suite}
    case = f"{change.suite}: {change.case}" if change.suite and several else change.case
    parts = [plain(f"{change.effect:<7}", _STYLES[change.effect]), plain(case, "bold")]
    if change.check:
        parts.append(plain(change.check))
    print_line(console, *parts)


def _verdict(comparison: Comparison) -> Text:
    """Make the last line: ``Regression: 3 worse, 0 neutral, 1 better; 40 of 45 …``."""
    if comparison.regression:
        verdict = plain("Regression", _STYLES["worse"])
    elif comparison.judged:
        verdict = plain("No regression", _STYLES["better"])
    else:
        return plain("Nothing was compared", _STYLES["neutral"]) + plain(
            f": of {comparison.compared} cases in both reports none has a check that both decide; "
            "compare reports of one suite, with cases that ran."
        )
    counts = ", ".join(f"{comparison.count(effect)} {effect}" for effect in _STYLES)
    return verdict + plain(
        f": {counts}; {comparison.unchanged} of {comparison.compared} cases unchanged."
    )
