"""A run: where it computes, how far it is, what of it survives a stop."""
