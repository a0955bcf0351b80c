"""What all surfaces share: the protocol, its results, stencils and hierarchies."""
