"""Layers of planes: convolutions of pictures, over groups of turns and flips; pooling that keeps shifts."""
