# SPDX-License-Identifier: Apache-2.0
"""The dashboards are what Grafana takes: their form, and how panels lie. Whether queries have answers,
test_monitoring.py asks a Prometheus."""
import os
import shutil
import subprocess

import pytest
import requests
import yaml

from harness import eventually, free_port
from manifests import ROOT, rendered
from watching import COMPONENT, dashboards

jsonschema = pytest.importorskip("jsonschema", reason="python3-jsonschema is not installed")

UNITS = {"short", "s", "bytes", "Bps", "percentunit", "ops", "reqps"}
COLORS = {"green", "orange", "red", "blue"}


def closed(required, **properties):
    """An object with these fields and no others; those named in required must be there."""
    return {"type": "object", "properties": properties, "required": required.split(), "additionalProperties": False}


TEXT, FLAG, WHOLE, NUMBER = ({"type": name} for name in ("string", "boolean", "integer", "number"))


def list_of(items):
    return {"type": "array", "items": items}


GRID = closed("x y w h", x=dict(WHOLE, minimum=0), y=dict(WHOLE, minimum=0), w=dict(WHOLE, minimum=1, maximum=24),
              h=dict(WHOLE, minimum=1))
TARGET = closed("refId expr", refId=dict(TEXT, pattern="^[A-Z]$"), expr=TEXT, legendFormat=TEXT, instant=FLAG)
STEP = closed("value color", value={"type": ["number", "null"]}, color={"enum": sorted(COLORS)})
FIELDS = closed("unit", unit={"enum": sorted(UNITS)}, min=NUMBER, max=NUMBER, color=closed("mode", mode={"const": "thresholds"}),
                thresholds=closed("mode steps", mode={"const": "absolute"}, steps=list_of(STEP)),
                custom=closed("fillOpacity", fillOpacity=WHOLE, stacking=closed("mode", mode={"const": "normal"})))
REDUCE = closed("calcs", calcs={"const": ["lastNotNull"]})
OPTIONS = {
    "timeseries": closed("legend tooltip", legend=closed("displayMode placement", displayMode={"const": "list"}, placement={"const": "bottom"}),
                         tooltip=closed("mode sort", mode={"const": "multi"}, sort={"const": "desc"})),
    "stat": closed("graphMode colorMode reduceOptions", graphMode={"const": "area"}, colorMode={"const": "value"},
                   reduceOptions=REDUCE),
    "bargauge": closed("orientation displayMode reduceOptions", orientation={"const": "horizontal"},
                       displayMode={"const": "gradient"}, reduceOptions=REDUCE),
}


def panel_schema(kind):
    if kind == "row":
        return closed("id type title gridPos collapsed panels", id=WHOLE, type=TEXT, title=TEXT, gridPos=GRID,
                      collapsed={"const": False}, panels={"const": []})
    source = closed("type uid", type={"const": "prometheus"}, uid={"const": "${datasource}"})
    return closed("id type title gridPos datasource options fieldConfig targets", id=WHOLE, type=TEXT, title=TEXT,
                  description=TEXT, gridPos=GRID, datasource=source, options=OPTIONS[kind], targets=list_of(TARGET),
                  fieldConfig=closed("defaults overrides", defaults=FIELDS, overrides={"const": []}))


def test_each_has_its_place_and_its_name():
    found = dashboards()
    assert sorted(found) == ["broker", "fleet", "gateway", "nodes", "redis"]
    for name, dashboard in found.items():
        assert dashboard["uid"] == f"millrace-{name}"  # links and bookmarks name it
        assert dashboard["schemaVersion"] >= 39 and dashboard["tags"] == ["millrace"]
        variable, = dashboard["templating"]["list"]
        assert (variable["name"], variable["type"], variable["query"]) == ("datasource", "datasource", "prometheus")
    assert len({dashboard["title"] for dashboard in found.values()}) == len(found)


@pytest.mark.parametrize("name", dashboards())
def test_every_panel_is_one_that_grafana_knows(name):
    panels = dashboards()[name]["panels"]
    for panel in panels:
        jsonschema.Draft7Validator(panel_schema(panel["type"])).validate(panel)
        names = [target["refId"] for target in panel.get("targets", ())]
        assert panel["type"] == "row" or names == sorted(set(names)) and names
        assert len(names) < 2 or all("legendFormat" in target for target in panel["targets"]), panel["title"]
    assert len({panel["id"] for panel in panels}) == len({panel["title"] for panel in panels}) == len(panels)


@pytest.mark.parametrize("name", dashboards())
def test_panels_lie_beside_each_other(name):
    taken = set()
    for panel in dashboards()[name]["panels"]:
        grid = panel["gridPos"]
        cells = {(x, y) for x in range(grid["x"], grid["x"] + grid["w"]) for y in range(grid["y"], grid["y"] + grid["h"])}
        assert not cells & taken and grid["x"] + grid["w"] <= 24, panel["title"]
        taken |= cells


@pytest.mark.parametrize("break_it", [
    lambda panel: panel["targets"][0].pop("expr"),
    lambda panel: panel["datasource"].update(uid="P1809F7CD0C75ACF3"),
    lambda panel: panel["fieldConfig"]["defaults"].update(unit="seconds"),
    lambda panel: panel.update(type="graph"),
])
def test_a_panel_that_grafana_does_not_know_is_found(break_it):
    panel = dashboards()["fleet"]["panels"][0]
    break_it(panel)
    with pytest.raises((jsonschema.ValidationError, KeyError)):
        jsonschema.Draft7Validator(panel_schema(panel["type"])).validate(panel)


def test_the_cluster_gets_all_of_them_where_grafana_looks():
    config = rendered("eks").get("ConfigMap", "millrace-dashboards")
    assert config["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert set(config["data"]) == {path.name for path in (COMPONENT / "dashboards").iterdir()}
    assert sum(map(len, config["data"].values())) < 256 << 10  # kubectl keeps a copy in an annotation
    sidecar = yaml.safe_load((ROOT / "deploy" / "charts" / "kube-prometheus-stack.yaml").read_text())["grafana"]["sidecar"]
    assert sidecar["dashboards"]["label"] == "grafana_dashboard" and sidecar["dashboards"]["searchNamespace"] == "ALL"


def test_compose_mounts_the_same():
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text())
    mounts = compose["services"]["grafana"]["volumes"]
    assert f"./{(COMPONENT / 'dashboards').relative_to(ROOT)}:/var/lib/grafana/dashboards:ro" in mounts
    assert "path: /var/lib/grafana/dashboards" in compose["configs"]["dashboards"]["content"]


def test_grafana_shows_them(tmp_path):
    """By Grafana itself, where it is installed; a picture of each where it can draw."""
    server = shutil.which("grafana-server") or shutil.which("grafana")
    if not server:
        pytest.skip("grafana is not installed: no picture of a dashboard is drawn")
    port = free_port()
    (tmp_path / "dashboards").mkdir()
    (tmp_path / "dashboards" / "millrace.yaml").write_text(yaml.safe_dump({"apiVersion": 1, "providers": [
        {"name": "millrace", "type": "file", "options": {"path": str(COMPONENT / "dashboards")}}]}))
    env = {**os.environ, "GF_PATHS_DATA": str(tmp_path / "data"), "GF_PATHS_LOGS": str(tmp_path / "log"),
           "GF_PATHS_PROVISIONING": str(tmp_path), "GF_SERVER_HTTP_ADDR": "127.0.0.1", "GF_SERVER_HTTP_PORT": str(port),
           "GF_AUTH_ANONYMOUS_ENABLED": "true", "GF_AUTH_ANONYMOUS_ORG_ROLE": "Admin"}
    arguments = [server] if server.endswith("-server") else [server, "server"]
    url = f"http://127.0.0.1:{port}"
    with subprocess.Popen([*arguments, "--homepath", "/usr/share/grafana"], env=env, stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL) as grafana:
        try:
            for dashboard in dashboards().values():
                shown = eventually(lambda: (answer := requests.get(f"{url}/api/dashboards/uid/{dashboard['uid']}",
                                                                   timeout=5)).ok and answer.json(), deadline=60)
                assert len(shown["dashboard"]["panels"]) == len(dashboard["panels"])
                picture = requests.get(f"{url}/render/d/{dashboard['uid']}?width=1600&height=2400", timeout=60)
                if picture.headers["Content-Type"] != "image/png":
                    pytest.skip("grafana-image-renderer is not installed: no picture of a dashboard is drawn")
                (tmp_path / f"{dashboard['uid']}.png").write_bytes(picture.content)
        finally:
            grafana.kill()
