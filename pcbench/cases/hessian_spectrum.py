"""Spectra of loss and equilibrated energy, anywhere in weight space, in any network, at any size.

At saddles theorems say what the spectra are; elsewhere the theory gives products of both Hessians
at the backend's own equilibrium, and these suffice to judge: products, eigenpairs with their error
bars, and, where the matrix can be written down, every eigenvalue and their distribution.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import ClassVar, get_args

import numpy as np
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from pcbench import checks, spectra
from pcbench.case import Case, CaseParameters, CaseSkippedError, Columns, Context, Finding
from pcbench.contract import (
    Capability,
    ExactInference,
    GaussNewtonInference,
    InferenceSettings,
    Objective,
)
from pcbench.data import DataField
from pcbench.data.base import Count
from pcbench.judges.answers import Subject, needs
from pcbench.judges.basis import Basis
from pcbench.judges.hessian import ProductJudge, extremes_series, numbers_missing
from pcbench.judges.inference import InferenceJudge
from pcbench.judges.problem import Problem
from pcbench.networks import NetworkParameters, activation
from pcbench.spectra import Density, Extremes, HessianOperator

RESIDUALS = "an eigenvalue lies within the residual of a vector of unit length"
QUADRATURE = "stochastic Lanczos quadrature and its confidence band"


class SmoothNetwork(NetworkParameters):
    """A network whose equilibrated energy has a Hessian."""

    @model_validator(mode="after")
    def _has_no_kinks(self) -> SmoothNetwork:
        pools = any(layer.pool > 1 for layer in self.convolutions)
        if pools or not activation(self.activation).smooth:
            raise ValueError(
                "equilibria of rectifiers and of max pooling lie on kinks, where the energy has no "
                "Hessian; use identity, tanh or silu, and pool: 1"
            )
        return self


class Parameters(CaseParameters):
    """What a suite may write under ``kind: hessian_spectrum``."""

    data: DataField
    network: SmoothNetwork
    inference: InferenceSettings | None = Field(
        None,
        description="How the equilibrium is found; exact in linear networks, else gauss_newton to "
        "a residual of 1e-8.",
    )
    directions: Count = Field(2, description="Random directions in which products are compared.")
    eigenvalues: Count = Field(2, description="Number of eigenvalues at each end of the spectrum.")
    relative: PositiveFloat = Field(
        1e-4,
        description="Relative residual of the extreme eigenpairs at which the iteration stops.",
    )
    max_steps: PositiveInt = Field(300, description="Most products that the iteration may use.")
    probes: NonNegativeInt = Field(
        8,
        description="Random vectors from which the distribution of eigenvalues is estimated; 0 "
        "leaves it out.",
    )
    density_steps: PositiveInt = Field(40, description="Products with each of these vectors.")
    whole: NonNegativeInt = Field(
        1000,
        description="All eigenvalues are computed, too, in networks of up to this many parameters.",
    )

    def contradictions(self) -> Iterator[str]:
        """Say which settings do not fit together."""
        if not self.probes and "density_steps" in self.model_fields_set:
            yield (
                "density_steps are taken with every probe, and go unused without any; leave it "
                "out, or raise probes"
            )


class HessianSpectrum(Case[Parameters]):
    """Hessian products, extremes and densities of loss and energy at any point."""

    kind: ClassVar[str] = "hessian_spectrum"
    description: ClassVar[str] = (
        "the Hessians of loss and equilibrated energy at any point of any smooth "
        "network: products with vectors, extreme eigenvalues with error bars, and the "
        "distribution of all eigenvalues"
    )
    Parameters: ClassVar[type[CaseParameters]] = Parameters

    def needs(self) -> frozenset[str]:
        """Return the capabilities behind the engine, the network and its Hessians."""
        return needs(self.parameters.network, {"": self._inference}) | {Capability.HESSIAN}

    def run(self, context: Context) -> Iterator[Finding]:
        """Judge the equilibrium, then the Hessians of both objectives there."""
        asked, backend = self.parameters, context.backend
        problem = Problem.pose(context, asked.data, asked.network)
        subject = Subject(backend, problem)
        model, result = subject.model, subject.infer(self._inference)
        judge = InferenceJudge(problem, backend.dtype)
        equilibrium = list(judge.checks("inference", result, self._inference, must_converge=True))
        yield from equilibrium
        if not checks.all_passed(equilibrium):
            return  # there is no equilibrium to take a Hessian at
        activities, size = judge.clamped(result), problem.network.n_parameters
        x, y = backend.to_device(problem.x), backend.to_device(problem.y)
        staged = [backend.to_device(z) for z in activities]
        hessians = {"loss": model.loss_hessian(x, y), "energy": model.energy_hessian(staged)}
        for objective in context.progress("spectra", get_args(Objective), len(hessians)):
            operator = HessianOperator(backend, hessians[objective], size)
            try:
                judging = ProductJudge(problem, objective, activities, backend.dtype)
            except ValueError as error:
                raise CaseSkippedError(str(error)) from error
            try:
                yield from self._spectrum(context, operator, judging)
            except spectra.NotNumbersError:
                yield numbers_missing(objective, size, size)
            # Whether the inner systems of all products were solved.
            yield from judging.solved(operator)
        yield context.measure("loss gradients", lambda: model.loss_gradients(x, y))
        vector = backend.to_device(np.ones((1, size)) / np.sqrt(size))
        for objective, hessian in hessians.items():
            yield context.measure(
                f"Hessian-vector product of the {objective}", partial(hessian.product, vector)
            )

    def _spectrum(
        self, context: Context, operator: HessianOperator, judge: ProductJudge
    ) -> Iterator[Finding]:
        """Ask for products, extremes, and the distribution; then compare all with the matrix."""
        asked, objective, size = self.parameters, judge.objective, operator.shape[0]
        rng = context.rng(f"Hessian of the {objective}")
        vectors = rng.standard_normal((asked.directions, size))
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        products = list(judge.findings(operator, vectors))
        yield from products
        if not checks.all_passed(products):
            return
        found = spectra.extreme_eigenpairs(
            operator,
            rng,
            count=asked.eigenvalues,
            relative=asked.relative,
            max_steps=asked.max_steps,
        )
        yield from judge.eigenpairs(operator, found)
        yield extremes_series(objective, found)
        density = None
        if asked.probes:
            density = spectra.spectral_density(
                operator, rng, probes=asked.probes, steps=asked.density_steps
            )
            shares = {"share from": density.lower.tolist(), "share to": density.upper.tolist()}
            columns = {"eigenvalue": density.at.tolist(), **shares}
            yield Columns(f"distribution of the {objective}", columns)
            columns = {"eigenvalue": density.nodes.tolist(), "weight": density.weights.tolist()}
            yield Columns(f"density of the {objective}", columns)
        if size <= asked.whole:
            yield from _against_whole(operator, judge, found, density)

    @property
    def _inference(self) -> InferenceSettings:
        linear = self.parameters.network.is_linear
        default = ExactInference() if linear else GaussNewtonInference(residual=1e-8, max_steps=200)
        return self.parameters.inference or default


def _against_whole(
    operator: HessianOperator,
    judge: ProductJudge,
    found: Extremes,
    density: Density | None,
) -> Iterator[Finding]:
    """Compare extremes and distribution with all eigenvalues of the whole matrix."""
    objective, matrix = judge.objective, spectra.dense(operator)
    eigenvalues = np.linalg.eigvalsh((matrix + matrix.T) / 2)
    yield Columns(f"spectrum of the {objective}", {"eigenvalue": eigenvalues.tolist()})
    # To first order an eigenvalue moves by what its own vector's product does; that of the two ends
    # stands for those between.
    ends = {"least": found.least, "largest": found.largest}
    rounding = max(judge.product(pair.vector)[1] for pair in ends.values())
    rounding = judge.allowed(rounding, operator.hessian.residual)
    basis = Basis(RESIDUALS, f"its residual, and {judge.derivation}")
    for (end, pair), exact in zip(ends.items(), eigenvalues[[0, -1]], strict=True):
        name = f"{end} eigenvalue of the {objective}"
        yield basis.approx(name, pair.value, exact, pair.residual + rounding)
    if density is None:
        return
    # The share of eigenvalues below every point.
    moved = density.rounding + rounding
    above, below = (
        np.searchsorted(eigenvalues, density.at + off, side="right") / len(eigenvalues)
        for off in (moved, -moved)
    )
    outside = max(float(np.max(density.lower - above)), float(np.max(below - density.upper)))
    yield Basis(QUADRATURE, "half an eigenvalue: shares are whole ones").at_most(
        f"distribution of the {objective} within its band", outside, 0.0, 0.5 / len(eigenvalues)
    )
