"""Typed, frozen options. Importable without torch."""
