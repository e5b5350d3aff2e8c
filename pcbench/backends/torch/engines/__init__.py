"""Inference engines: each relaxes the hidden activities of a clamped network on its own way."""
