"""ATME: its networks, its memory of maps, and the analysis of the maps."""
