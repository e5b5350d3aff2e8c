"""Hessians of loss and energy, by their products with vectors."""
