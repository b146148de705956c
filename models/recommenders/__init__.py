"""Recommenders: what the filled profiles are for, a ranker trained on warm users and then left alone."""
