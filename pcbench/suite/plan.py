"""From a suite as written to concrete cases, each validated by its kind.

The values of a concrete case are laid on top of each other: the suite's defaults, the case, its
size, its place in the matrix, and the overrides of the command line.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from pcbench import registry
from pcbench.registry import BrokenPluginError, UnknownNameError, did_you_mean
from pcbench.suite.expand import IDENTITY, Variant, put_all, variants
from pcbench.suite.grammar.parameters import Fault, check, fields_by_key, known_paths
from pcbench.suite.grammar.schema import QUICK
from pcbench.suite.grammar.seeds import SEEDS
from pcbench.suite.grammar.settings import RUN_SETTINGS, RunSettings, load_kind
from pcbench.suite.model import PlannedCase, Suite
from pcbench.suite.yaml.node import NoKeysError
from pcbench.suite.yaml.problems import Position, Problems

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pcbench.case import Case, CaseParameters
    from pcbench.suite.expand import Axis, Choice
    from pcbench.suite.grammar.layout import CaseEntry, Layout
    from pcbench.suite.options import Matcher
    from pcbench.suite.yaml.node import Node, Path
    from pcbench.suite.yaml.problems import Problem

    Kind = type[Case[Any]]
    Checked = tuple[CaseParameters | None, list[Fault]]


@dataclass(slots=True)
class Overridable:
    """What the cases of all suites have that an override could set."""

    # The paths of the overrides that at least one case took.
    applied: set[Path] = field(default_factory=set)
    # All paths that an override could have had.
    paths: set[Path] = field(default_factory=lambda: {(key,) for key in RUN_SETTINGS})
    # Whether every suite has cases and every kind could be loaded, so that paths are complete.
    whole: bool = True


def plan_suite(
    layout: Layout, size: str, overrides: Sequence[Choice], matches: Matcher, found: Overridable
) -> Suite:
    """Plan the cases of a suite; what is wrong is added to the layout's problems.

    Cases are selected by their identifiers at that size, before any override; overrides apply to
    the selected cases. All other cases and sizes are validated as written, though they do not run.
    """
    cases: list[PlannedCase] = []
    total = 0
    for part in layout.parts:
        names = {layout.name, part.name}
        more, written = _plan_part(part, names, size, overrides, matches, found, layout.problems)
        cases += more
        total += written
    return Suite(
        name=layout.name,
        description=layout.description,
        cases=tuple(cases),
        path=layout.path,
        size=size,
        sizes=layout.sizes,
        covers=layout.covers,
        total=total,
    )


def _plan_part(
    part: Layout,
    names: Iterable[str],
    size: str,
    overrides: Sequence[Choice],
    matches: Matcher,
    found: Overridable,
    problems: Problems,
) -> tuple[list[PlannedCase], int]:
    """Plan the cases of a suite or of one that it includes, and count them before any selection.

    ``names`` are those of the suites that the cases are from.
    """
    cases: list[PlannedCase] = []
    total, whole = 0, bool(part.cases or part.includes)
    # Any case takes seeds; IDENTITY in defaults is refused by the layout already.
    taken = {*RUN_SETTINGS, *IDENTITY, SEEDS}
    for entry in part.cases:
        kinds, certain = _kinds_of(entry, problems)
        whole &= certain
        keys = {*RUN_SETTINGS}
        for kind in kinds:
            keys.update(fields_by_key(kind.Parameters))
            found.paths.update(known_paths(kind.Parameters))
        taken |= keys
        tree = entry.tree.over(part.defaults.restricted(keys.__contains__))
        told: set[Problem] = set()  # what is wrong in one variant is mostly wrong in all of them
        for name, sizing in entry.sizes.items():
            sized = put_all(tree, sizing.values, f"in the size {name!r},", problems)
            sized_entry = replace(entry, tree=sized)
            found.paths.update(
                (path for path, _ in sized.entries()), (axis.path for axis in sizing.axes)
            )
            written = list(sizing.variants(entry.id))
            selected: list[Variant] = []
            if name == entry.at(size)[0]:
                total += len(written)
                selected = [one for one in written if matches(*_words(names, sized_entry, one))]
            applying = overrides if selected else ()
            pairs = _overridden(entry.id, sizing.axes, selected, overrides)
            for variant, original in pairs or [(each, each) for each in written]:
                case, faults, applied = _plan_case(
                    variant, original, sized_entry, kinds, applying, problems
                )
                found.applied |= applied
                if case and selected:
                    cases.append(case)
                _tell(faults, variant, name, told, problems)
    for key, node in (part.defaults.as_mapping() or {}).items():
        if whole and key not in taken:  # a misspelt one would silently do nothing
            hint = did_you_mean(key, taken - {*IDENTITY})
            message = f"no case of the suite has the parameter {key!r}{hint}"
            problems.note(node.name_at, message)
    found.whole &= whole
    return cases, total


def _overridden(
    case_id: str, axes: Sequence[Axis], selected: Sequence[Variant], overrides: Sequence[Choice]
) -> list[tuple[Variant, Variant]]:
    """Return the variants that stand for those selected, without the axes that are overridden.

    Each comes with the first as written that it stands for.
    """
    # An axis is overridden if it varies the parameter, or a part of it.
    kept = [
        axis for axis in axes if not any(axis.path[: len(path)] == path for path, _ in overrides)
    ]
    if len(kept) == len(axes):
        return [(each, each) for each in selected]
    paths = {axis.path for axis in kept}

    def values(variant: Variant) -> frozenset[tuple[Path, int]]:
        return frozenset((path, id(value)) for path, value in variant.choices if path in paths)

    first: dict[frozenset[tuple[Path, int]], Variant] = {}
    for original in selected:
        first.setdefault(values(original), original)
    each = ((variant, first.get(values(variant))) for variant in variants(case_id, kept))
    return [(variant, original) for variant, original in each if original]


def _kinds_of(entry: CaseEntry, problems: Problems) -> tuple[list[Kind], bool]:
    """Return the kinds to check the case by, and whether it is the one that the case names.

    For an unknown name these are all kinds that it may be a misspelling of: what is wrong by each
    of them is reported, too.
    """
    if not entry.kind:  # missing, or no name at all: the layout has noted it
        return [], False
    try:
        return [load_kind(entry.kind)], True
    except BrokenPluginError as error:
        problems.note(entry.kind_at, str(error))
        return [], False
    except UnknownNameError as error:
        problems.note(entry.kind_at, str(error))
    names = registry.CASES.names()
    kinds: list[Kind] = []
    for name in get_close_matches(entry.kind, names, n=len(names)) or names:
        with suppress(BrokenPluginError):  # it is told where the plug-in is named
            kinds.append(load_kind(name))
    return kinds, False


def _words(
    suites: Iterable[str], entry: CaseEntry, variant: Variant
) -> tuple[list[str], list[str]]:
    """Return the words that a selection may name in part, and those that it must name in full."""
    parts = [variant.id, entry.kind]
    whole = [word for suite in suites for word in (suite, f"suite={suite}")]
    whole += (f"figure={figure.strip()}" for figure in entry.figure.split(","))
    whole += (word for tag in entry.tags for word in (tag, f"tag={tag}"))
    data = variant.apply(entry.tree, Problems()).get("data")
    name = data and data.get("name")
    if name and isinstance(name.value, str):
        parts.append(name.value)
        whole.append(f"data={name.value}")
    return parts, whole


def _tell(
    faults: Sequence[Fault], variant: Variant, size: str, told: set[Problem], problems: Problems
) -> None:
    """Note what is not noted yet, with the variant and the size that have it."""
    for fault in faults:
        if fault.problem in told:
            continue
        told.add(fault.problem)
        places = [
            *([f"in {variant.id}"] if variant.choices and fault.of_values else []),
            *([f"at size {size}"] if size != QUICK else []),
        ]
        where = f" ({', '.join(places)})" if places else ""
        problems.note(fault.problem.at, f"{fault.problem.message}{where}")


def _plan_case(
    variant: Variant,
    original: Variant,
    entry: CaseEntry,
    kinds: Sequence[Kind],
    overrides: Sequence[Choice],
    problems: Problems,
) -> tuple[PlannedCase | None, list[Fault], set[Path]]:
    """Return the case if it is valid, what is wrong with it, and the overrides that it took."""
    tree, taken, checked = _override(variant.apply(entry.tree, problems), kinds, overrides)
    applied = {*taken}
    settings, faults = check(RunSettings, tree.restricted(RUN_SETTINGS.__contains__))
    if len(kinds) != 1:
        return None, faults + _shared([more for _, more in checked]), applied
    [kind], [(parameters, more)] = kinds, checked
    if more and taken:
        more = _attributed(more, original.apply(entry.tree, Problems()), kind, taken)
    faults += more
    if parameters is None or settings is None or faults:
        return None, faults, applied
    case = PlannedCase(
        id=variant.id,
        randomness=variant.randomness,
        kind=entry.kind,
        figure=entry.figure,
        expected_failure=entry.expected_failure,
        case=kind,
        parameters=parameters,
        **dict(settings),
        insisted=frozenset(path[0] for path in applied if path[0] in RUN_SETTINGS),
    )
    return case, [], applied


def _attributed(
    faults: Sequence[Fault], tree: Node, kind: Kind, overrides: Mapping[Path, Node]
) -> list[Fault]:
    """Place what only overrides have made wrong at those of them without which it is not.

    A rule about several parameters has its place where all of them are written, in the file.
    """

    def wrong(taken: Iterable[Path]) -> set[Problem]:
        changed = tree
        for path in taken:
            with suppress(NoKeysError):  # without an override beneath it
                changed = changed.put(path, overrides[path])
        [(_, found)] = _check(changed, [kind])
        return {fault.problem for fault in found}

    as_written = wrong(())
    sources = [value.at.file for value in overrides.values()]
    without = [wrong(path for path in overrides if path != left) for left in overrides]
    placed = []
    for fault in faults:
        problem = fault.problem
        if problem.at.file not in sources and problem not in as_written:
            pairs = zip(sources, without, strict=True)
            causes = [source for source, others in pairs if problem not in others] or sources
            at = Position(" and ".join(dict.fromkeys(causes)))
            fault = replace(fault, problem=replace(problem, at=at))
        placed.append(fault)
    return placed


def _shared(found: Sequence[Sequence[Fault]]) -> list[Fault]:
    """Keep what is wrong by every kind, without hints: a hint is about one of the kinds."""
    bare = [[_without_hint(fault) for fault in faults] for faults in found]
    return [fault for fault in bare[0] if all(fault in other for other in bare)] if bare else []


def _without_hint(fault: Fault) -> Fault:
    if not fault.unknown_key:
        return fault
    problem = replace(fault.problem, message=f"unknown key {fault.unknown_key[-1]!r}")
    return replace(fault, problem=problem, suggestion="")


def _override(
    tree: Node, kinds: Sequence[Kind], overrides: Sequence[Choice]
) -> tuple[Node, dict[Path, Node], list[Checked]]:
    """Apply the overrides whose parameter the case has; return them, and the checked parameters.

    Only validation can tell whether it has one: the keys of ``data`` depend on its dataset.
    """
    taken: dict[Path, Node] = {}
    checked: list[Checked] | None = None
    for path, value in overrides:
        try:
            candidate = tree.put(path, value)
        except NoKeysError:  # what is a mapping in another case need not be one in this
            continue
        if path[0] not in RUN_SETTINGS:
            found = _check(candidate, kinds)
            written = {path for path, _ in tree.entries()}
            if not any(_has(path, faults, written) for _, faults in found):
                continue
            checked = found
        tree = candidate
        taken[path] = value
    return tree, taken, _check(tree, kinds) if checked is None else checked


def _check(tree: Node, kinds: Sequence[Kind]) -> list[Checked]:
    """Check the parameters by every kind that may be meant."""
    parameters = tree.restricted(lambda key: key not in RUN_SETTINGS)
    return [check(kind.Parameters, parameters) for kind in kinds]


def _has(path: Path, faults: Sequence[Fault], written: set[Path]) -> bool:
    """Whether a case has the parameter at a path, judging by the faults once a value is put there.

    Where the user chooses names, such as those of engines, setting a parameter of an engine that
    the case does not have would create it, and its required parameters are missing then.
    """
    unknown = [fault.unknown_key for fault in faults if fault.unknown_key]
    missing = [fault.missing_key[:-1] for fault in faults if fault.missing_key]
    made = [above for above in missing if above and above not in written]
    return not any(path[: len(each)] == each for each in unknown + made)
