"""Theorem 1: the energy at equilibrium along training."""

from pcbench.cases.equilibrated_energy.case import EquilibratedEnergy

__all__ = ["EquilibratedEnergy"]
