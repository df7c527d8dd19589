"""The load balancer: which substation an EV is sent to, and what becomes of it there."""
