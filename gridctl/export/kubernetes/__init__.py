"""The cluster for Kubernetes: one object a file, for Kustomize. Renders only, and knows no cluster that runs."""
