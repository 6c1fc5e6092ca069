"""The gallery of real trainings: what is trained, how far it is, and the pages that show it."""
