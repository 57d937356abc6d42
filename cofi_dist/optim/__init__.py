"""Minimise J by moving the factors, without seeing a rank."""
