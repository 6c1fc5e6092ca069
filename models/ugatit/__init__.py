"""U-GAT-IT: its networks."""
