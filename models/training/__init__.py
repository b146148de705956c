"""Training: a data folder in, a bundle out."""
