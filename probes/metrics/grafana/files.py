"""The files of a Prometheus and a Grafana that watch a server, and a compose file that starts both beside it.

Nothing asks the server. Both listen on this machine only.
"""

from __future__ import annotations

import json
from pathlib import Path

from probes.metrics.endpoint import Endpoint
from probes.metrics.grafana.dashboard import CARDS_JOB, SCRAPE_S, SERVER_JOB, dashboard
from probes.outputfiles import make_folder, refuse_existing, write_texts

CONFIGURATION = "prometheus.yml"
DASHBOARD = "vllm-dashboard.json"
COMPOSE = "compose.yml"
SOURCES = "grafana-sources.yml"
DASHBOARDS = "grafana-dashboards.yml"
EXPORTER_PORTS = (9400, 5000)  # where NVIDIA's DCGM exporter and AMD's device metrics exporter answer by default
# The containers share this machine's network: a server on 127.0.0.1 cannot be reached from a network of their own.
COMPOSED = f"""\
# Start it with: docker compose up; then open http://127.0.0.1:3000 (user admin, password admin).
services:
  prometheus:
    image: prom/prometheus
    network_mode: host
    command: ["--config.file=/etc/prometheus/{CONFIGURATION}", "--web.listen-address=127.0.0.1:9090"]
    volumes: ["./{CONFIGURATION}:/etc/prometheus/{CONFIGURATION}:ro"]
  grafana:
    image: grafana/grafana
    network_mode: host
    environment: {{GF_SERVER_HTTP_ADDR: "127.0.0.1", GF_ANALYTICS_REPORTING_ENABLED: "false"}}
    volumes:
      - ./{SOURCES}:/etc/grafana/provisioning/datasources/{SOURCES}:ro
      - ./{DASHBOARDS}:/etc/grafana/provisioning/dashboards/{DASHBOARDS}:ro
      - ./{DASHBOARD}:/var/lib/grafana/dashboards/{DASHBOARD}:ro
"""
SOURCE = """\
apiVersion: 1
datasources:
  - {name: Prometheus, type: prometheus, access: proxy, url: "http://127.0.0.1:9090", isDefault: true}
"""
PROVIDER = """\
apiVersion: 1
providers:
  - {name: enginescope, type: file, options: {path: /var/lib/grafana/dashboards}}
"""


def write(at: Endpoint, folder: Path, force: bool = False) -> list[Path]:
    """Write all files into `folder`; refused where they are there already, unless `force`."""
    texts = {CONFIGURATION: configuration(at), DASHBOARD: json.dumps(dashboard(), indent=2) + "\n"}
    texts |= {COMPOSE: COMPOSED, SOURCES: SOURCE, DASHBOARDS: PROVIDER}
    files = {folder / name: text for name, text in texts.items()}
    if not force:
        refuse_existing(files)
    make_folder(folder)
    return write_texts(files)


def configuration(at: Endpoint) -> str:
    """`prometheus.yml` with this server, and what may tell of its machine's cards. JSON's strings are YAML's."""
    host = at.authority.rpartition(":")[0]
    exporters = ", ".join(json.dumps(f"{host}:{port}") for port in EXPORTER_PORTS)
    return f"""# Start it with: prometheus --config.file={CONFIGURATION}
global:
  scrape_interval: {SCRAPE_S}s
scrape_configs:
  - job_name: {SERVER_JOB}
    scheme: {at.scheme}
    metrics_path: {json.dumps(at.path)}
    static_configs:
      - targets: [{json.dumps(at.authority)}]
  - job_name: {CARDS_JOB}  # NVIDIA's DCGM exporter, AMD's device metrics exporter: whichever runs there
    static_configs:
      - targets: [{exporters}]
"""
