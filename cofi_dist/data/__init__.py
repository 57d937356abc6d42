"""Get ratings from a file, arrays or a seed into the shard of one rank."""
