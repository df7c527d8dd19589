"""Floor 4: the commands, the supervisor, the load tester. Importing it costs nothing: every verb imports what it needs."""

__version__ = "0.1.0"
