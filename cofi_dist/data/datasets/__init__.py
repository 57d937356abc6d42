"""Data sets that are known by name, and how they are downloaded."""
