"""Events → observed features: decode, fold, sink, commit."""
