"""An example for Alertmanager: who is told of which alarm, and which alarm makes another superfluous. Pure."""

from __future__ import annotations

EXAMPLE = """\
# Written by gridctl: an example to start from. Alertmanager reads it: alertmanager --config.file=alertmanager.yml
# Every alarm goes to the web hook below; put your own receiver there (prometheus.io/docs/alerting/configuration).
route:
  receiver: example
  group_by: [cluster, alertname]
  group_wait: 10s
  group_interval: 1m
  repeat_interval: 4h
  routes:
    - matchers: [severity = "critical"]
      receiver: example
      group_wait: 1s

inhibit_rules:
  # of a substation that is down nobody needs to hear that its reports are old, or that it was full
  - source_matchers: [alertname = "SubstationDown"]
    target_matchers: [alertname =~ "SubstationReportOld|SubstationNearlyFull"]
    equal: [cluster, substation_id]
  # where a balancer or the charge-request service is down, requests fail
  - source_matchers: [alertname = "ServiceDown"]
    target_matchers: [alertname =~ "ErrorRateHigh|LatencyHigh"]
    equal: [cluster]

receivers:
  - name: example
    webhook_configs:
      - url: http://127.0.0.1:9095/alerts
        send_resolved: true
"""
