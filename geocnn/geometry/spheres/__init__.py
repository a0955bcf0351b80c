"""Spheres have closed forms: HEALPix, subdivided icosahedra, rings of latitude, the projective plane."""
