"""Triangle meshes: half-edges, geodesics, levels, Laplacians, descriptors."""
