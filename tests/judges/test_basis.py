"""What checks rest on is bound once; many of one name become the one nearest the edge."""

from pcbench.checks import Tolerance, approx
from pcbench.judges.basis import Basis, folded


def test_a_basis_makes_the_same_check_as_the_function():
    basis = Basis("Theorem 1", "rounding").at("step 2")
    expected = approx(
        "energy", 1.0, 1.5, Tolerance(0.25, "rounding"), source="Theorem 1", where="step 2, layer 3"
    )
    assert basis.approx("energy", 1, 1.5, 0.25, "layer 3") == expected


def test_checks_of_one_name_are_folded_into_the_worst():
    basis = Basis("Theorem 1", "rounding")

    @folded
    def make(count):
        for number in range(count):
            yield basis.at_most("error", number, 1.5, 1.0, f"step {number}")
            yield basis.at_most("other", 0, 1.5, 1.0)

    error, other = make(4)
    assert (error.status, error.observed, error.where, error.comparisons) == (
        "failed",
        3,
        "step 3",
        4,
    )
    assert (other.status, other.comparisons) == ("passed", 4)
