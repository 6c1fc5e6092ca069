"""Volumes of medical and microscope files: read, cut into upright slices, put together again."""
