"""Evaluation: ranking metrics, their intervals, and the comparison of ways to fill a profile."""
