"""Figure 6 of the paper: matrix completion, and how PC leaves the saddles on BP's path.

Backpropagation from near the origin passes saddles of rank 0, 1, 2 on its way to a matrix of rank
3. They are found on its path, draw by draw; from each, both learners start anew at the same point,
and the steps that they take to leave it are compared over draws. In the published comparison PC's
step is longer, and PC sees targets that BP does not; it can be had with both, one, or neither.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

from pcbench.case import Case, CaseParameters, Context, Finding
from pcbench.cases.matrix_completion.claims import Claims
from pcbench.cases.matrix_completion.draws import Draws
from pcbench.cases.matrix_completion.escape import escape
from pcbench.cases.matrix_completion.finish import finish
from pcbench.cases.matrix_completion.judge import first_steps, traceless
from pcbench.cases.matrix_completion.parameters import Parameters
from pcbench.cases.matrix_completion.path import Saddle, descend
from pcbench.cases.matrix_completion.records import path_checks, stationary_checks
from pcbench.cases.matrix_completion.series import (
    of_draws,
    of_escapes,
    of_finish,
    of_paths,
    of_ratios,
    of_saddles,
)
from pcbench.cases.matrix_completion.ways import Way
from pcbench.checks import Check, all_passed
from pcbench.contract import ExactInference
from pcbench.judges.answers import training_needs
from pcbench.judges.claims import insist


class MatrixCompletion(Case[Parameters]):
    """Steps that both learners take to leave the saddles on BP's path."""

    kind: ClassVar[str] = "matrix_completion"
    description: ClassVar[str] = (
        "matrix completion: the saddles of every rank on BP's path, the steps that PC "
        "and BP take to leave them, and the first of these steps compared with a closed form "
        "where there is one (figure 6)"
    )
    Parameters: ClassVar[type[CaseParameters]] = Parameters

    def needs(self) -> frozenset[str]:
        """Return what training replicas needs, and unobserved outputs."""
        asked = self.parameters
        return training_needs(asked.network, asked.engine, masked=asked.data.observed < 1)

    def run(self, context: Context) -> Iterator[Finding]:
        """Follow BP, judge the saddles that it passed, and let both learners leave them."""
        asked = self.parameters
        draws = Draws.pose(context, asked)
        descent = descend(draws)
        yield from of_paths(descent.paths)
        yield of_draws(descent)
        yield of_saddles(descent.saddles)
        ways = list(dict.fromkeys([*(way.opponent for way in asked.ways), *asked.ways]))
        made = list(self._judge(draws, descent.saddles, ways))
        yield from made
        if not all_passed(made):
            return  # times of learners that err compare with nothing
        escapes = {
            way: escape(draws, descent.saddles, way)
            for way in context.progress("escapes", ways, len(ways))
        }
        for way, seen in escapes.items():
            yield from of_escapes(way, seen)
        claims = Claims(draws, descent.saddles, escapes)
        yield of_ratios(claims)
        if asked.escape.finish:
            yield from of_finish(finish(draws, descent, asked.ways[0]))
        findings = list(self._compare(claims))
        yield from findings
        insist(findings)

    def _judge(
        self, draws: Draws, saddles: Sequence[Saddle], ways: Sequence[Way]
    ) -> Iterator[Check]:
        """Judge what BP said of its path, and what each learner does first at the saddles."""
        asked, dtype = self.parameters, draws.context.backend.dtype
        yield from path_checks(saddles, asked.training.learning_rate, dtype)
        if asked.network.activation == "identity":
            yield from stationary_checks(saddles, dtype)
        for way in ways:
            if way.learner == "BP" or isinstance(asked.engine, ExactInference):
                yield from first_steps(draws, saddles, way)
            if way.masking == "matched" and asked.data.observed < 1:
                yield traceless(draws, saddles, way)

    def _compare(self, claims: Claims) -> Iterator[Finding]:
        """Put the claims to every rank; those required must hold."""
        asked = self.parameters
        linear = asked.network.activation == "identity"
        for rank in range(asked.data.rank):
            required = rank in asked.required
            # That BP's gradient vanishes where PC's does not is a theorem at the origin alone.
            yield from claims.steeper(rank, required=required and (rank == 0 or linear))
            yield from claims.sooner(rank, required=required)
