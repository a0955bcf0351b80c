"""Spheres in closed form: HEALPix, subdivided icosahedra, rings of latitude, the projective plane."""
