"""Request → enriched profile: read, decide, batch, infer, blend, write back, answer."""
