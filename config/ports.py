"""The ports and the address of a cluster whose topology sets none; must not know which of them are free."""

LOOPBACK = "127.0.0.1"
REQUEST_PORT = 8080
BALANCER_PORT = 8081
PROMETHEUS_PORT = 9090
GRAFANA_PORT = 3000
#: Where several workers share the charge-request service's port, each has one for its own metrics too, from here on.
FIRST_METRICS_PORT = 8180
#: Substations without a port of their own take the first free numbers from here on.
FIRST_SUBSTATION_PORT = 9001
