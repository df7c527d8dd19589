"""Floor 3: what runs as a process (charge-request service, balancer, substation). Knows nothing of the launcher."""
