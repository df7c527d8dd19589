"""Floor 1: what is declared (topology, settings, wire messages, errors). Imports nothing of ours and no framework."""
