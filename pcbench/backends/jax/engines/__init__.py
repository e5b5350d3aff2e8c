"""Inference engines, as pure functions: each relaxes a clamped network on its own way."""
