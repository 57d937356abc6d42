"""The kernels in torch's own operations, for any device."""
