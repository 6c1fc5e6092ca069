"""The tests. A package, because an installed one of the same name (torch-fidelity ships its own) would come first."""
