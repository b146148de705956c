"""Faults of what the gRPC server stands on, and of its callers; every answer is judged."""
