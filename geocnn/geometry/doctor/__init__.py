"""What can be wrong with a list of triangles, the repairs, and the verdict that `mesh` and `load` share."""
