"""The processes' log files as one stream in the order of time. Must not know clusters, options or how lines look."""
