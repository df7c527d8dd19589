"""Grids in containers of a real Docker Engine."""
