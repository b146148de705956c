"""Generators: ways to fill a profile, as torch modules with the tensor schema's inputs and outputs."""
