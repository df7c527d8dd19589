"""The live table: `gridctl top`, and what `gridctl up` shows in the foreground. Must not know who makes the snapshots."""
