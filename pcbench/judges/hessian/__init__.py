"""Checks on Hessians: their products with vectors, their spectra and extreme eigenvalues."""
