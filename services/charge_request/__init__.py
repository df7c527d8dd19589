"""The charge-request service: where EVs ask. Knows no substation."""
