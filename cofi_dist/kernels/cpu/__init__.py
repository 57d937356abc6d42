"""Sum over ratings and factors with loops that numba compiles for the CPU."""
