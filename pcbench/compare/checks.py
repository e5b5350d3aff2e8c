"""Compare the checks and claims of a case: first their verdicts, then the numbers behind checks.

Numbers are compared only where both cases were given the same inputs. They have moved when they are
further apart than the larger of the two tolerances: a tolerance bounds what rounding, unfinished
inference or sampling may do, and with the larger one the answer is the same in both directions.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Hashable
from typing import TYPE_CHECKING, TypeVar

from pcbench.compare.model import Change
from pcbench.report.text import format_apart, format_expected

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pydantic import JsonValue

    from pcbench.checks import Check
    from pcbench.report.model import CaseResult, Report


T = TypeVar("T")
K = TypeVar("K", bound=Hashable)


def pair(
    base: Iterable[T], new: Iterable[T], name: Callable[[T], K]
) -> list[tuple[K, T | None, T | None]]:
    """Pair the items that have the same name: ``(name, base, new)``, ``None`` where one is missing.

    The order is that of ``new``, then what only ``base`` has. Names should be unique; where they
    are not, the first goes with the first and the second with the second, so that none is dropped.
    """
    old, now = _numbered(base, name), _numbered(new, name)
    return [(key[0], old.get(key), now.get(key)) for key in {**now, **old}]


def pair_cases(base: Report, new: Report) -> list[tuple[str, CaseResult | None, CaseResult | None]]:
    """Pair the cases of the same suite and identifier: ``(identifier, base, new)``.

    Older reports do not say which suite a case is from: against these, identifiers have to do.
    """
    known = all(case.suite for report in (base, new) for case in report.cases)
    pairs = pair(base.cases, new.cases, lambda case: (case.suite if known else "", case.id))
    return [(name, old, now) for (_, name), old, now in pairs]


def _numbered(items: Iterable[T], name: Callable[[T], K]) -> dict[tuple[K, int], T]:
    seen: Counter[K] = Counter()
    numbered: dict[tuple[K, int], T] = {}
    for item in items:
        key = name(item)
        numbered[key, seen[key]] = item
        seen[key] += 1
    return numbered


def changed_inputs(base: CaseResult, new: CaseResult) -> dict[str, tuple[JsonValue, JsonValue]]:
    """Return the resolved inputs that differ: ``{"parameters.network.width": (300, 100)}``.

    Kind, seed, dtype and parameters determine the question. The backend and its device do not:
    their answers to the same question are what is compared. A missing parameter counts as null, so
    that a new optional one changes nothing.
    """
    names = ("kind", "seed", "dtype", "parameters")
    old, now = (
        dict(_leaves({name: getattr(case, name) for name in names})) for case in (base, new)
    )
    both = {path: (old.get(path), now.get(path)) for path in {**old, **now}}
    # As JSON, in which true is not 1 and a NaN equals itself.
    return {
        path: (was, is_now)
        for path, (was, is_now) in both.items()
        if json.dumps(was) != json.dumps(is_now)
    }


def _leaves(value: JsonValue, path: str = "") -> Iterator[tuple[str, JsonValue]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(item, f"{path}.{key}" if path else key)
    else:
        yield path, value


SAME_TOLERANCE = 1e-5
"""Relative difference up to which two tolerances are the same: they are made of condition numbers,
which round differently from machine to machine, and six significant digits are shown."""

RENAMED = {
    "finite energy": "malformed answers",
    "numbers made of what is none": "finite answers from non-finite input",
    "predictions made of what is none": "finite predictions from non-finite input",
}
"""Other names of a check: in earlier reports of schema 1, or where inference has diverged. What is
before a colon is the same."""


def compare_checks(base: CaseResult, new: CaseResult, *, same_inputs: bool) -> Iterator[Change]:
    """Yield what changed among the checks of a case, in their order.

    A case that errored or was skipped has made only some of its checks, or none. Checks that are
    missing for this reason are not listed: the verdict of the case says so.
    """
    moved = (base.backend, base.device) != (new.backend, new.device)
    for name, old, now in pair(base.checks, new.checks, present_name):
        shown = now or old
        change = Change.maker(new.id, shown.name if shown else name)
        if old and now:
            if old.status != now.status:
                effect = "better" if now.passed else "worse"
                message = f"{old.status} before and {now.status} now{_because(now)}"
                yield change("check_verdict", effect, old.status, now.status, message)
            elif same_inputs:
                yield from _numbers(old, now, change, moved=moved)
        elif now and both_complete(base, new):
            effect = "worse" if now.status == "failed" else "neutral"
            message = f"is a new check, and {now.status}{_because(now)}"
            yield change("check_added", effect, None, now.status, message)
        elif old and both_complete(base, new):
            message = f"is checked no more; it {old.status} before."
            yield change("check_removed", "worse", old.status, None, message)


def both_complete(base: CaseResult, new: CaseResult) -> bool:
    """Whether a case came to its end in both reports, so that it made all its checks and claims."""
    return {base.status, new.status} <= {"passed", "failed", "undecided"}


def present_name(check: Check) -> str:
    """Return what a check is called now."""
    subject, colon, name = check.name.rpartition(": ")
    return f"{subject}{colon}{RENAMED.get(name, name)}"


def _because(check: Check) -> str:
    return f": {check.explanation}" if check.message else "."


def _numbers(
    old: Check, now: Check, change: Callable[..., Change], *, moved: bool
) -> Iterator[Change]:
    """Yield which numbers moved in a check that has the same verdict on both sides."""
    if old.where != now.where:
        return  # another entry or step is nearest the edge now: other numbers altogether
    if old.tolerance is None or now.tolerance is None:
        return  # undecided both times
    allowed = max(old.tolerance, now.tolerance)
    # Moved numbers are worse where a pass rests on them; a failure stays what it was.
    effect = "worse" if now.passed else "neutral"
    if old.relation != now.relation or _differ(_ends(old), _ends(now), allowed):
        # What is demanded moves the answer too: the observed value needs no line of its own.
        reason = _excuse(old, now, allowed, moved=moved)
        was = format_expected(old.relation, old.expected)
        is_now = format_expected(now.relation, now.expected)
        yield change(
            "expected_changed",
            "neutral" if reason else effect,
            [old.relation, *_ends(old)],
            [now.relation, *_ends(now)],
            f"was asked to be {was} before and {is_now} now"
            f"{reason or ', though its inputs are the same'}.",
        )
    elif _differ([old.observed], [now.observed], allowed):
        was, is_now = format_apart(old.observed, now.observed)
        distance = ""
        if old.observed is not None and now.observed is not None:
            times = abs(now.observed - old.observed) / allowed
            distance = f", {times:.3g} times the tolerance"
        message = f"{now.status} both times, but moved from {was} to {is_now}{distance}."
        yield change("observed_drifted", effect, old.observed, now.observed, message)
    if not math.isclose(old.tolerance, now.tolerance, rel_tol=SAME_TOLERANCE):
        direction = "wider" if now.tolerance > old.tolerance else "tighter"
        was, is_now = format_apart(old.tolerance, now.tolerance)
        message = (
            f"has a {direction} tolerance: {was} before and {is_now} now, from {now.derivation}."
        )
        yield change("tolerance_changed", "neutral", old.tolerance, now.tolerance, message)


def _excuse(old: Check, now: Check, allowed: float, *, moved: bool) -> str:
    """Say why a changed demand is no regression; empty if it may be one.

    The theory is asked about weights that the backend has trained, and a training run goes its own
    way on another processor, by rounding alone. Where a single number is demanded as before, the
    answer may have moved by as much as it did.
    """
    if moved:
        return "; another backend or device ran"
    if old.relation != now.relation:
        return ""
    match old.observed, old.expected, now.observed, now.expected:
        case float(was), float(was_due), float(is_now), float(is_due):
            followed = abs((was - was_due) - (is_now - is_due)) <= allowed
            return ", and the answer followed" if followed else ""
    return ""


def _ends(check: Check) -> list[float | None]:
    return list(check.expected) if isinstance(check.expected, tuple) else [check.expected]


def _differ(old: list[float | None], now: list[float | None], allowed: float) -> bool:
    """Whether numbers are further apart than allowed; two that are not finite are alike."""
    return len(old) != len(now) or any(
        a is not b if a is None or b is None else abs(a - b) > allowed
        for a, b in zip(old, now, strict=True)
    )


def compare_claims(base: CaseResult, new: CaseResult) -> Iterator[Change]:
    """Yield what changed among the claims of a case, in their order.

    Neither of "not borne out" and "unresolved" is better than the other. A new claim is no change.
    A claim that is missing because the case errored or was skipped is not listed: the verdict of
    the case says so.
    """
    for (name, setting), old, now in pair(
        base.claims, new.claims, lambda claim: (claim.name, claim.setting)
    ):
        change = Change.maker(new.id, f"{name} ({setting})")
        if old and now and old.verdict != now.verdict:
            effect = "neutral"
            if "borne out" in (old.verdict, now.verdict):
                effect = "better" if now.verdict == "borne out" else "worse"
            because = f": {now.message}" if now.message else "."
            message = (
                f"{old.verdict} before, at {old.ratio}, and {now.verdict} now, "
                f"at {now.ratio}{because}"
            )
            yield change("claim_verdict", effect, old.verdict, now.verdict, message)
        elif old and not now and both_complete(base, new):
            message = f"is put to the test no more; it was {old.verdict} before."
            yield change("claim_removed", "worse", old.verdict, None, message)
