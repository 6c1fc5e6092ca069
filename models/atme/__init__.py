"""ATME: its networks, maps and their analysis."""
