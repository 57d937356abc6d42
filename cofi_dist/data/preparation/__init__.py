"""Prepare the ratings of a file, and open prepared ratings."""
