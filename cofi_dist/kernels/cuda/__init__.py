"""The kernels that Triton compiles for CUDA devices."""
