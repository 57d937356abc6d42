"""Ratings: from a file, arrays or a seed to the shard of one rank."""
