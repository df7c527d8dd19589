"""What `gridctl serve` is told, and where it listens; must not know clusters."""
