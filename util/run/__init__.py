"""A run: where it computes, how far it is, what of it survives a stop. Importing this package needs the standard
library only: ``options`` lists the names."""

LR_POLICIES = ("linear", "step", "plateau", "cosine", "constant")
SCHED_COMPATS = ("correct", "reference")
