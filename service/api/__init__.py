"""Requests in, replies out: what callers may ask, in `kindling.v1` and in Feast's own API."""
