"""Exporters: the cluster, written down for another system. A renderer yields files; only `folder` writes them."""
