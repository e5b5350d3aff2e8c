"""From a suite as written to concrete cases, each validated by its kind.

What a concrete case says is, from the bottom up: the suite's defaults, the case, its size, its
place in the matrix, and the overrides of the command line.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from pcbench import registry
from pcbench.registry import BrokenPluginError, UnknownNameError, did_you_mean
from pcbench.suite.expand import IDENTITY, Variant, count, variants
from pcbench.suite.grammar.fields import fields_by_key, known_paths
from pcbench.suite.grammar.parameters import Fault, check_parameters
from pcbench.suite.grammar.settings import RUN_SETTINGS, read_settings
from pcbench.suite.grammar.sizes import QUICK
from pcbench.suite.kinds import load_kind
from pcbench.suite.model import PlannedCase
from pcbench.suite.yaml.node import NoKeysError
from pcbench.suite.yaml.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from pcbench.case import Case
    from pcbench.suite.grammar.layout import CaseEntry, Layout
    from pcbench.suite.overrides import Override
    from pcbench.suite.yaml.node import Node, Path

    Kind = type[Case[Any]]
    Selection = Callable[[Collection[str], Collection[str]], bool]


@dataclass(slots=True)
class Plan:
    """The concrete cases of a suite, and what was learnt while making them.

    Parameters
    ----------
    cases
        Those that are valid.
    applied
        The paths of the overrides that some case took.
    paths
        All paths that an override could have had.
    whole
        Whether there are cases and every kind could be loaded, so that ``applied`` and ``paths``
        are all there is.
    total
        How many cases there are at the size, selected or not, before any override.
    """

    cases: list[PlannedCase] = field(default_factory=list)
    applied: set[Path] = field(default_factory=set)
    paths: set[Path] = field(default_factory=lambda: {(key,) for key in RUN_SETTINGS})
    whole: bool = True
    total: int = 0


def make_plan(layout: Layout, size: str, overrides: Sequence[Override], matches: Selection) -> Plan:
    """Plan the cases of a suite; what is wrong is added to the layout's problems.

    The selection goes by identifiers as the suite has them at that size, before any override; the
    overrides are for the cases that it selects. The others are only checked, as written, and so
    are all other sizes: no size of a suite is left to be found wrong by whoever runs it first.
    """
    plan = Plan(whole=bool(layout.cases))
    taken = {*RUN_SETTINGS, *IDENTITY}  # IDENTITY in defaults is refused by the layout already
    for entry in layout.cases:
        kinds, certain = _kinds_of(entry, layout.problems)
        plan.whole &= certain
        keys = {*RUN_SETTINGS}
        for kind in kinds:
            keys.update(fields_by_key(kind.Parameters))
            plan.paths.update(known_paths(kind.Parameters))
        taken |= keys
        tree = entry.tree.over(layout.defaults.restricted(keys.__contains__))
        told: set[Problem] = set()  # what is wrong in one variant is mostly wrong in all of them
        for each in entry.all_sizes:
            whole = replace(entry, tree=tree).at(each, layout.problems)
            plan.paths.update(whole.tree.paths(), (axis.path for axis in whole.axes))
            asked = each == entry.size(size)
            plan.total += count(whole.axes) if asked else 0
            wanted = matches if asked else _nothing
            faults = _plan_entry(
                layout.name, whole, kinds, overrides, wanted, plan, layout.problems
            )
            _tell(faults, each, told, layout.problems)
    if plan.whole:
        _check_defaults(layout.defaults, taken, layout.problems)
    return plan


def _kinds_of(entry: CaseEntry, problems: list[Problem]) -> tuple[list[Kind], bool]:
    """Return the kinds to check the case by, and whether that is the one that the case names.

    Of an unknown name these are all that it may be a slip for: what is wrong whichever of them
    was meant is told as well.
    """
    if not entry.kind:  # missing, or no name at all: the layout has noted it
        return [], False
    try:
        return [load_kind(entry.kind)], True
    except BrokenPluginError as error:
        problems.append(Problem(entry.kind_at, str(error)))
        return [], False
    except UnknownNameError as error:
        problems.append(Problem(entry.kind_at, str(error)))
    names = registry.CASES.names()
    kinds: list[Kind] = []
    for name in get_close_matches(entry.kind, names, n=len(names)) or names:
        with suppress(BrokenPluginError):  # its breakage is told to whoever names it
            kinds.append(load_kind(name))
    return kinds, False


def _check_defaults(defaults: Node, taken: set[str], problems: list[Problem]) -> None:
    """Note defaults that no case takes: a misspelt one would do nothing, and nobody would know."""
    for key, node in (defaults.as_mapping() or {}).items():
        if key not in taken:
            hint = did_you_mean(key, taken - {*IDENTITY})
            message = f"no case of the suite has the parameter {key!r}{hint}"
            problems.append(Problem(node.key_at or node.at, message))


def _plan_entry(
    suite: str,
    entry: CaseEntry,
    kinds: Sequence[Kind],
    overrides: Sequence[Override],
    matches: Selection,
    plan: Plan,
    problems: list[Problem],
) -> list[tuple[str, Fault]]:
    """Plan the concrete cases of a case; return what is wrong, and with which of a matrix."""
    written = list(variants(entry.id, entry.axes))
    selected = [variant for variant in written if matches(*_words(suite, entry, variant))]
    axes = entry.axes
    planned = written
    if selected:
        axes = tuple(axis for axis in axes if not any(each.replaces(axis) for each in overrides))
        planned = [
            variant
            for variant in variants(entry.id, axes)
            if any(variant.covers(original) for original in selected)
        ]
    else:
        overrides = ()
    found: list[tuple[str, Fault]] = []
    for variant in planned:
        tree, applied = _override(variant.apply(entry.tree, problems), kinds, overrides)
        plan.applied |= applied
        case, faults = _plan_case(variant, entry, kinds, tree, applied)
        if case and selected:
            plan.cases.append(case)
        found += ((variant.id if axes else "", fault) for fault in faults)
    return found


def _words(suite: str, entry: CaseEntry, variant: Variant) -> tuple[list[str], list[str]]:
    """Return the words that a selection may name in part, and those that it has to name in full."""
    parts = [variant.id, entry.kind]
    whole = [suite, f"suite={suite}"]
    whole += (f"figure={figure.strip()}" for figure in entry.figure.split(","))
    data = (variant.apply(entry.tree, []).as_mapping() or {}).get("data")
    name = data and (data.as_mapping() or {}).get("name", data).value
    if isinstance(name, str):
        parts.append(name)
        whole.append(f"data={name}")
    return parts, whole


def _nothing(_parts: Collection[str], _whole: Collection[str]) -> bool:
    return False


def _tell(
    found: Sequence[tuple[str, Fault]], size: str, told: set[Problem], problems: list[Problem]
) -> None:
    """Note what has not been told yet, with the first variant, and the size, in which it is."""
    for variant, fault in found:
        if fault.problem in told:
            continue
        told.add(fault.problem)
        places = [
            *([f"in {variant}"] if variant and fault.of_values else []),
            *([f"at size {size}"] if size != QUICK else []),
        ]
        where = f" ({', '.join(places)})" if places else ""
        problems.append(replace(fault.problem, message=f"{fault.problem.message}{where}"))


def _plan_case(
    variant: Variant, entry: CaseEntry, kinds: Sequence[Kind], tree: Node, overridden: set[Path]
) -> tuple[PlannedCase | None, list[Fault]]:
    objections: list[Problem] = []
    settings = read_settings(tree, objections)
    faults = [Fault(problem) for problem in objections]
    checked = [check_parameters(kind.Parameters, _parameters(tree)) for kind in kinds]
    if len(kinds) != 1:
        return None, faults + _shared([more for _, more in checked])
    [kind], [(parameters, more)] = kinds, checked
    faults += more
    if parameters is None or faults:
        return None, faults
    case = PlannedCase(
        id=variant.id,
        randomness=variant.randomness,
        kind=entry.kind,
        figure=entry.figure,
        case=kind,
        parameters=parameters,
        seed=settings.seed,
        dtype=settings.dtype,
        backend=settings.backend,
        device=settings.device,
        insisted=frozenset(path[0] for path in overridden if path[0] in RUN_SETTINGS),
    )
    return case, []


def _shared(found: Sequence[Sequence[Fault]]) -> list[Fault]:
    """Keep what is wrong by every kind, without hints: these are of one kind or another."""
    bare = [[_without_hint(fault) for fault in faults] for faults in found]
    first, *others = bare or [[]]
    return [fault for fault in first if all(fault in other for other in others)]


def _without_hint(fault: Fault) -> Fault:
    if not fault.unknown_key:
        return fault
    problem = replace(fault.problem, message=f"unknown key {fault.unknown_key[-1]!r}")
    return replace(fault, problem=problem, suggestion="")


def _override(
    tree: Node, kinds: Sequence[Kind], overrides: Sequence[Override]
) -> tuple[Node, set[Path]]:
    """Apply the overrides whose parameter this case has, and say which these are."""
    applied: set[Path] = set()
    for override in overrides:
        try:
            candidate = tree.put(override.path, override.value)
        except NoKeysError:  # what is a mapping in another case need not be one in this
            continue
        if _may_say(override.path, candidate, kinds, written=set(tree.paths())):
            tree = candidate
            applied.add(override.path)
    return tree, applied


def _may_say(path: Path, tree: Node, kinds: Sequence[Kind], written: set[Path]) -> bool:
    """Whether a case that has a value at a path may have one there.

    Only validation can tell: which keys ``data`` has depends on the dataset that it names. Where
    names are the user's own, as those of engines, a setting of one that the case does not have
    would make one, of which nothing else is known: what it must have is missing then.
    """
    if path[0] in RUN_SETTINGS:
        return True
    return any(_has(kind, path, tree, written) for kind in kinds)


def _has(kind: Kind, path: Path, tree: Node, written: set[Path]) -> bool:
    _, faults = check_parameters(kind.Parameters, _parameters(tree))
    unknown = [fault.unknown_key for fault in faults if fault.unknown_key]
    missing = [fault.missing_key[:-1] for fault in faults if fault.missing_key]
    made = [above for above in missing if above and above not in written]
    return not any(path[: len(each)] == each for each in unknown + made)


def _parameters(tree: Node) -> Node:
    return tree.restricted(lambda key: key not in RUN_SETTINGS)
