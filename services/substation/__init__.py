"""A substation: sessions that last, and a hard limit of its own."""
