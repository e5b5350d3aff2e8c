"""What a failed check says: one sentence that a reader can judge without the code."""

from __future__ import annotations


def out_of_bounds(
    name: str,
    observed: float,
    relation: str,
    expected: float | tuple[float, float],
    excess: float,
    unit: str = "",
) -> str:
    """Say of one number how it should stand, with as many digits as tell it from its bound.

    A count has a ``unit``, what is counted: by how much it is off is then plain to see.
    """
    ends = expected if isinstance(expected, tuple) else (expected,)
    # The end of an interval that was overstepped is the nearer one.
    seen, _ = apart(observed, min(ends, key=lambda end: abs(end - observed)))
    shown = [apart(end, observed)[0] for end in ends]
    wanted = {
        "≈": "equal {}",
        "≤": "be at most {}",
        "≥": "be at least {}",
        "<": "be less than {} beyond rounding",
        "∈": "lie in {}",
    }[relation]
    target = f"[{', '.join(shown)}]" if len(shown) > 1 else shown[0]
    if unit:
        return f"{name}: {seen} {unit} should {wanted.format(target)}."
    return (
        f"{name}: {seen} should {wanted.format(target)}; it misses what is allowed by {excess:.3g}."
    )


def too_far_apart(name: str, distance: float, norm: float, allowed: float) -> str:
    """Say how far two arrays are apart in the Frobenius norm, and how large the thing itself is.

    ``norm`` is that of the array that was expected.
    """
    percent = f" ({100 * distance / norm:.2g} % of the expected norm {norm:.3g})" if norm else ""
    return (
        f"{name}: observed and expected differ by {distance:.3g}"
        f"{percent or ' (the expected norm is 0)'}; {allowed:.3g} is allowed."
    )


def apart(first: float, second: float) -> tuple[str, str]:
    """Format two numbers with as many digits as it takes to tell them apart."""
    for digits in (6, 9, 12):
        shown = f"{first:.{digits}g}", f"{second:.{digits}g}"
        if shown[0] != shown[1] or first == second:
            return shown
    return repr(first), repr(second)
