"""One file a command. Each is called with plain arguments and returns its exit code."""
