"""The doctor finds what is wrong with a list of triangles, repairs it, and decides if it is a surface."""
