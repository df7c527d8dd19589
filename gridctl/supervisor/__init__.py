"""The launcher's long-lived half: one process that owns a cluster's state, sockets and children."""
