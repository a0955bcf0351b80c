"""Flat surfaces in closed form: quotients of rectangles, and cones."""
