"""Export: from a trained module to a file that serving runs without the training libraries."""
