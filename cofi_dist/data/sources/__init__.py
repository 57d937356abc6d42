"""Where ratings come from: a prepared file, arrays, or a seed."""
