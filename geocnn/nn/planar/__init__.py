"""Layers of planes: convolutions of images, group convolutions, and subsampling that commutes with shifts."""
