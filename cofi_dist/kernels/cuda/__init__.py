"""Run the kernels on CUDA devices: Triton compiles them, graphs replay them."""
