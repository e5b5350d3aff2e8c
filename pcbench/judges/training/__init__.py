"""Checks on training: steps against the expected optimiser, and training curves."""
