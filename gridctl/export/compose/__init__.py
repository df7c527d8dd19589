"""Compose and Swarm: a deployment as `compose.yaml` or `stack.yaml` with all that stands beside it."""
