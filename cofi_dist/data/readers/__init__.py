"""Ratings files, read as streams of tables of bounded size."""
