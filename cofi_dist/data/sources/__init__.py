"""Sources of ratings: a prepared file, arrays, or a seed."""
