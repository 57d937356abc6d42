"""The sums over each row's ratings and over factors, for every back end: arrays in, sums out."""
