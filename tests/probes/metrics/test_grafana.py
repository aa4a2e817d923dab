"""The dashboard and the configuration, as Prometheus's own checker reads them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess

import pytest
import yaml

from probes.metrics.endpoint import endpoint
from probes.metrics.grafana.dashboard import dashboard
from probes.metrics.grafana.files import COMPOSED, PROVIDER, SOURCE, write
from probes.metrics.quantities import figures
from tests.probes.metrics.metrics_server import Engines
from tests.probes.metrics.metricscommand import run, window


def expressions() -> list[str]:
    """Every PromQL expression of the dashboard, Grafana's variables filled in."""
    queries = [target["expr"] for panel in dashboard()["panels"] for target in panel["targets"]]
    return [each.replace("$__rate_interval", "1m").replace("$instance", ".*") for each in queries]


def test_dashboard_is_whole() -> None:
    board = dashboard()
    assert json.loads(json.dumps(board)) == board
    places = [tuple(panel["gridPos"].values()) for panel in board["panels"]]
    assert len(set(places)) == len(places) == 18
    assert len({panel["id"] for panel in board["panels"]}) == 18
    text = json.dumps(board)
    for name in ("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc", "vllm:inter_token_latency_seconds_bucket"):
        assert name in text
    assert set(re.findall(r"\$\{?(\w+)", text)) == {"source", "instance", "__rate_interval", "__all"}


def test_grafana_writes_without_asking_and_overwrites_only_when_told(tmp_path) -> None:
    folder = tmp_path / "new" / "monitoring"
    done = run("http://127.0.0.1:9/v1", "--grafana", str(folder))
    assert done.returncode == 0
    files = ("prometheus.yml", "vllm-dashboard.json", "compose.yml", "grafana-sources.yml", "grafana-dashboards.yml")
    assert done.stdout == "".join(f"Wrote {folder}/{name}\n" for name in files)
    assert '- targets: ["127.0.0.1:9"]' in (folder / "prometheus.yml").read_text()
    again = run("127.0.0.1:9", "--grafana", str(folder))
    assert again.returncode == 2 and "--force overwrites it" in again.stderr
    assert run("127.0.0.1:9", "--grafana", str(folder), "--force").returncode == 0


def test_http_and_cards_have_panels() -> None:
    exprs = {panel["title"]: panel["targets"][0]["expr"] for panel in dashboard()["panels"]}
    assert exprs["HTTP requests per second by status"].startswith("sum by (status) (rate(http_requests_total{")
    assert exprs["Cards: memory in use"] == (
        'max by (gpu, gpu_id) (DCGM_FI_DEV_FB_USED{job="cards"}) / (max by (gpu, gpu_id) (DCGM_FI_DEV_FB_USED'
        '{job="cards"}) + max by (gpu, gpu_id) (DCGM_FI_DEV_FB_FREE{job="cards"})) or max by (gpu, gpu_id) '
        '(gpu_used_vram{job="cards"}) / (max by (gpu, gpu_id) (gpu_total_vram{job="cards"}))'
    )


def test_the_containers_get_the_files_that_are_written_and_listen_on_this_machine_only(tmp_path) -> None:
    services = yaml.safe_load(COMPOSED)["services"]
    written = {path.name for path in write(endpoint("127.0.0.1:8000"), tmp_path)}
    mounted = [volume.split(":") for service in services.values() for volume in service["volumes"]]
    assert {source.removeprefix("./") for source, *_ in mounted} == written - {"compose.yml"}
    assert "--web.listen-address=127.0.0.1:9090" in services["prometheus"]["command"]
    assert services["grafana"]["environment"]["GF_SERVER_HTTP_ADDR"] == "127.0.0.1"
    assert yaml.safe_load(SOURCE)["datasources"][0]["url"] == "http://127.0.0.1:9090"
    folder = yaml.safe_load(PROVIDER)["providers"][0]["options"]["path"]
    assert f"{folder}/vllm-dashboard.json" in [target for _, target, *_ in mounted]


def promtool() -> str:
    """Prometheus's own checker; Debian's package `prometheus` has it."""
    path = shutil.which("promtool")
    if not path:
        pytest.skip("promtool is not installed: apt-get install prometheus")
    return path


@pytest.mark.slow(5)
@pytest.mark.parametrize("url", ["http://127.0.0.1:8000", "https://llm.example.org/a b/", "http://[::1]:8000"])
def test_prometheus_accepts_the_configuration(tmp_path, url) -> None:
    path = write(endpoint(url), tmp_path)[0]
    done = subprocess.run([promtool(), "check", "config", str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow(5)
def test_prometheus_accepts_every_expression(tmp_path) -> None:
    rules = [{"record": f"panel:{at}", "expr": each} for at, each in enumerate(expressions())]
    path = tmp_path / "rules.yml"
    path.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    done = subprocess.run([promtool(), "check", "rules", str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(rules)} rules found" in done.stdout


@pytest.mark.slow(5)
def test_prometheus_finds_the_same_quantile(tmp_path) -> None:
    values = (0.02, 0.02, 0.04, 0.3, 0.06, 0.12)
    server = Engines()
    server.observe("itl", *values)
    lines = [line for line in server.text().splitlines() if line.startswith("vllm:inter_token_latency_seconds_bucket")]
    pairs = [line.rsplit(" ", 1) for line in lines]
    itl = figures(window(Engines().text(), server.text())).times["itl"]
    assert itl is not None
    expected = [(share, reading.value) for share, reading in itl.quantiles.items() if reading]
    name = "vllm:inter_token_latency_seconds_bucket"
    query = "histogram_quantile({}, sum by (le) (" + name + "))"
    tests = [
        {"expr": query.format(share), "eval_time": "1m", "exp_samples": [{"labels": "{}", "value": value}]}
        for share, value in expected
    ]
    (tmp_path / "rules.yml").write_text('{"groups": []}')
    series = [{"series": labels, "values": f"{value}x5"} for labels, value in pairs]
    group = {"interval": "1m", "input_series": series, "promql_expr_test": tests}
    (tmp_path / "test.yml").write_text(json.dumps({"rule_files": ["rules.yml"], "tests": [group]}))
    done = subprocess.run([promtool(), "test", "rules", "test.yml"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
