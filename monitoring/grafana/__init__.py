"""Grafana: what it is provisioned with, and the code that the dashboards are made from. Must not know who runs Grafana.

`provisioning` gives the files, and needs nothing but them. `grid.json` and `services.json` are made by `make dashboards`
from `grid`, `services`, `parts` and `queries`, which need grafana-foundation-sdk and are imported by nothing else.
"""
