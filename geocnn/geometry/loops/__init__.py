"""Transport along paths, the holonomy of loops, and the kernels that it leaves invariant."""
