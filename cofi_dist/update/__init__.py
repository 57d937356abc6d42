"""Bring a model up to date with new ratings: only the rows that they touch change."""
