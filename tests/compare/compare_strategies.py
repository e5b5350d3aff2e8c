"""Reports whose cases and checks meet: few names, few numbers, every verdict."""

from typing import get_args

from hypothesis import strategies as st

from pcbench.checks import Check, CheckStatus
from pcbench.claims import Claim
from pcbench.report import CaseResult, CaseStatus, Environment, Report, Timing

numbers = st.sampled_from([None, 0.0, 0.5, 1.0, 1.25, float("nan")])

checks = st.builds(
    Check,
    name=st.sampled_from(["energy", "least eigenvalue"]),
    status=st.sampled_from(get_args(CheckStatus)),
    observed=numbers,
    relation=st.sampled_from(["≈", "≤"]),
    expected=st.sampled_from([None, 0.0, 1.0, (0.0, 1.0)]),
    tolerance=st.sampled_from([None, 0.1, 0.5, 2.0]),
    derivation=st.just("rounding"),
    margin=st.just(0.5),
    source=st.just("Theorem 1"),
    message=st.sampled_from(["", "it is wrong."]),
)

claims = st.builds(
    Claim,
    name=st.just("PC is sooner"),
    setting=st.sampled_from(["matched", "published"]),
    verdict=st.sampled_from(["borne out", "not borne out", "unresolved"]),
    low=st.just(0.5),
    estimate=st.sampled_from([None, 0.75]),
    high=st.sampled_from([None, 1.5]),
    confidence=st.just(0.95),
    pairs=st.just(6),
    required=st.booleans(),
    source=st.just("figure 2"),
    message=st.sampled_from(["", "it is not."]),
)

cases = st.builds(
    CaseResult,
    id=st.sampled_from(["energy[width=3]", "energy[width=5]", "hessian"]),
    suite=st.sampled_from(["", "theory", "escape"]),
    kind=st.just("equilibrated_energy"),
    parameters=st.sampled_from([{}, {"network": {"width": 3}}, {"scale": float("nan")}]),
    backend=st.just("torch"),
    device=st.sampled_from(["cpu", "cuda"]),
    dtype=st.just("float64"),
    seed=st.just(0),
    status=st.sampled_from(get_args(CaseStatus)),
    message=st.sampled_from(["", "because."]),
    checks=st.lists(checks, max_size=3),
    claims=st.lists(claims, max_size=2),
    timings=st.lists(st.just(Timing.of("inference", [1.0, 2.0])), max_size=1),
    duration_s=st.just(1.0),
)


@st.composite
def reports(draw):
    found = draw(st.lists(cases, max_size=4))
    return Report(
        suite=draw(st.sampled_from(["theory", "escape"])),
        created="2025-03-01T12:00:00Z",
        interrupted=draw(st.booleans()),
        environment=Environment(
            pcbench="0.1.0",
            python="3.11",
            platform="Linux",
            processor="x86_64",
            cores=2,
            packages=draw(st.sampled_from([{}, {"torch": "2.5"}, {"torch": "2.6"}])),
        ),
        summary=Report.summarise(found),
        cases=found,
    )
