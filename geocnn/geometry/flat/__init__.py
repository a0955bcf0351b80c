"""Flat surfaces have closed forms: quotients of rectangles, and cones."""
