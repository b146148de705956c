"""Generators against the clock: the default rung on one core, beside the priors and a plain network."""
