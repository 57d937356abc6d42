"""Load ratings of any range of users from a prepared file, arrays or a seed."""
