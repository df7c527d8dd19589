"""The choice of a substation: policies as pure functions of nodes and a request. Knows no clock and no network."""
