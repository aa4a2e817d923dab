"""Files to watch a server for longer: for Prometheus, Grafana, and containers of both."""
