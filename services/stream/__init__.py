"""One connection between two of the grid's own services; what waits goes together. Knows no particular service."""
