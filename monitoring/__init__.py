"""Floor 2: what is observed (metric names and renderings). Knows nothing of how services run."""
