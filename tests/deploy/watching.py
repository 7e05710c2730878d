# SPDX-License-Identifier: Apache-2.0
"""What k8s/components/monitoring has: its dashboards, its rules, and each expression in them."""
import json
import re
from dataclasses import dataclass

import yaml

from manifests import ROOT

COMPONENT = ROOT / "k8s" / "components" / "monitoring"


@dataclass(frozen=True)
class Expression:
    """One query; where: dashboard and panel, or the alarm."""
    where: str
    text: str

    def __str__(self):
        return f"{self.where}: {self.text}"


def dashboards():
    """File name without its end -> dashboard."""
    return {path.stem: json.loads(path.read_text()) for path in sorted((COMPONENT / "dashboards").glob("*.json"))}


def rules():
    """What Prometheus reads: {"groups": ..}."""
    return yaml.safe_load((COMPONENT / "rules.yaml").read_text())["spec"]


def alarms():
    """Name -> rule."""
    return {rule["alert"]: rule for group in rules()["groups"] for rule in group["rules"]}


def of_dashboards(rate_interval):
    """Every query of every panel, as Grafana would send it with this interval."""
    return [Expression(f"{name}, {panel['title']}", target["expr"].replace("$__rate_interval", rate_interval))
            for name, dashboard in dashboards().items() for panel in dashboard["panels"]
            for target in panel.get("targets", ())]


def of_alarms():
    """What alarms compare with their limits: with a limit there is only an answer where something is wrong."""
    return [Expression(name, re.sub(r" [<>]=? [0-9.]+$", "", part))
            for name, rule in alarms().items() for part in re.split(r"\n(?:or|unless)\n|\n>= ", rule["expr"])]
