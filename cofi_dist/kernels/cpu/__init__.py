"""The kernels that numba compiles for the processor."""
