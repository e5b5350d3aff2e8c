"""Any report there can be: unicode and brackets in names, numbers that are not finite."""

from typing import get_args

from hypothesis import strategies as st

from pcbench.checks import Check, CheckStatus
from pcbench.claims import Claim
from pcbench.report import CaseResult, CaseStatus, Environment, Report, Timing
from pcbench.tolerances import ToleranceFactor

words = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
printable = st.text(
    st.characters(categories=["L", "N", "P", "S"]) | st.sampled_from(" []=/"),
    min_size=1,
    max_size=30,
)
finite = st.floats(allow_nan=False, allow_infinity=False)
positive = st.floats(min_value=0, exclude_min=True, allow_infinity=False)
seconds = st.floats(min_value=0, allow_infinity=False)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | finite | words,
    lambda values: st.lists(values, max_size=3) | st.dictionaries(words, values, max_size=3),
    max_leaves=5,
)
parameters = st.dictionaries(words, json_values, max_size=3)


def checks(names=words, numbers=finite):
    return st.builds(
        Check,
        name=names,
        status=st.sampled_from(get_args(CheckStatus)),
        observed=st.none() | numbers,
        relation=st.sampled_from(["≈", "≤", "≥", "<", "∈"]),
        expected=st.none() | finite | st.tuples(finite, finite),
        tolerance=st.none() | positive,
        derivation=words,
        margin=st.none() | numbers,
        source=words,
        where=words,
        comparisons=st.integers(1, 1000),
        message=words,
    )


def claims(names=words):
    ratios = st.none() | st.floats(min_value=0, allow_infinity=False)
    return st.builds(
        Claim,
        name=names,
        setting=names,
        verdict=st.sampled_from(["borne out", "not borne out", "unresolved"]),
        low=ratios,
        estimate=ratios,
        high=ratios,
        confidence=st.none() | st.floats(0, 1),
        pairs=st.integers(0, 100),
        censored=st.dictionaries(words, st.integers(0, 100), max_size=2),
        required=st.booleans(),
        source=words,
        message=words,
    )


timings = st.builds(
    Timing,
    name=words,
    samples_s=st.lists(seconds, min_size=1, max_size=3),
    median_s=seconds,
    iqr_s=seconds,
    peak_memory_bytes=st.none() | st.integers(0),
)


factors = st.builds(
    ToleranceFactor,
    factor=st.floats(1e-3, 1e6),
    reason=st.text(st.characters(categories=["L"]), min_size=1),
)


def cases(names=words, numbers=finite):
    return st.builds(
        CaseResult,
        id=names,
        kind=words,
        figure=words,
        parameters=parameters,
        backend=words,
        device=words,
        dtype=words,
        seed=st.integers(0),
        status=st.sampled_from(get_args(CaseStatus)),
        message=words,
        checks=st.lists(checks(names, numbers), max_size=3),
        claims=st.lists(claims(names), max_size=2),
        timings=st.lists(timings, max_size=1),
        series=st.dictionaries(
            words,
            st.dictionaries(words, st.lists(st.none() | numbers, max_size=3), max_size=2),
            max_size=1,
        ),
        omitted=st.dictionaries(words, words, max_size=2),
        tolerance_factor=st.dictionaries(words, factors, max_size=1),
        duration_s=seconds,
    )


environments = st.builds(
    Environment,
    pcbench=words,
    python=words,
    platform=words,
    processor=words,
    cores=st.integers(1, 64),
    packages=st.dictionaries(words, words, max_size=2),
    backends=st.dictionaries(words, parameters, max_size=1),
)


@st.composite
def reports(draw, names=words, numbers=finite):
    found = draw(st.lists(cases(names, numbers), max_size=3))
    return Report(
        suite=draw(words),
        size=draw(words),
        created=draw(words),
        interrupted=draw(st.booleans()),
        duration_s=draw(st.none() | seconds),
        environment=draw(environments),
        summary=Report.summarise(found),
        cases=found,
    )
