"""Prepared ratings: written from a ratings file, and opened again."""
