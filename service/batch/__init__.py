"""Rows of many calls → batches of one device."""
