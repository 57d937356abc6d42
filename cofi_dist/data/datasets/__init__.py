"""Download data sets that are known by name."""
