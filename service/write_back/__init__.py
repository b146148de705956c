"""Answers → `user_augmented`, online and offline, off the answer's path."""
