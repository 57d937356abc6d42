"""Run the kernels in torch's own operations, on any device."""
