"""From a ratings file, the notebook's arrays or a seed to one rank's shard of ratings."""
