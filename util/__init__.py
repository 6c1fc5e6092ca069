"""Building blocks that know nothing of options, data sets and models."""
