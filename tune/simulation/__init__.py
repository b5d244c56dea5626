"""Searches on recorded curves, and plans made with them."""
