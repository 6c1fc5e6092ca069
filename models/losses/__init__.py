"""Losses as pure functions or tiny classes: tensors in, a 0-dim tensor out, the paper's equation in the docstring."""
