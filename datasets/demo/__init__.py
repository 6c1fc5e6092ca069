"""Drawings for the demo data sets of make_demo.py."""
