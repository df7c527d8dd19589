"""The open-loop load tester: when EVs arrive, how they are sent, and what the grid made of them."""
