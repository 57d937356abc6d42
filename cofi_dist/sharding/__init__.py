"""Decide which rank holds which users, and in which order sums over all users are formed."""
