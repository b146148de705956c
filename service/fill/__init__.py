"""Sparse profile → filled one: which rung may fill it, what it says, and how much of that to believe."""
