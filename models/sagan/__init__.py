"""SAGAN: its networks, latent vectors, samples and published weights."""
