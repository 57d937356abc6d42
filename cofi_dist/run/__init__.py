"""Manage the life of a run: start, resume, save and stop it, and keep its directory."""
