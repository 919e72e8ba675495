"""Spectra of curvature without matrices: top eigenpairs, spectral density, and the operators of a problem."""
