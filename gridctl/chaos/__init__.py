"""Faults on purpose, under load, and what they cost. Runs beside a cluster, never inside it."""
