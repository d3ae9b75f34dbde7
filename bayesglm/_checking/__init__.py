"""Whether a fit can be believed: convergence, predictive checks, time rescaling, drift, couplings."""
