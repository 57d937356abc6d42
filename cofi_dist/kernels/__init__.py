"""Sum over each row's ratings and over the factors, on every back end: arrays in, sums out."""
