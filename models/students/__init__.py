"""Students: small transformers that learn from teachers' lessons offline, and serve in their place."""
