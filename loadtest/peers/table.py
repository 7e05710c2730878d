# SPDX-License-Identifier: Apache-2.0
"""The table of docs/peers.md, from the lines of ./run bench peers:

    ./run bench peers > lines; python3 loadtest/peers/table.py < lines
"""

import json
import statistics
import sys

SIDES = (("millrace", "Millrace"), ("celery", "FastAPI + Celery as it comes"), ("celery_tuned", "tuned"),
         ("celery_careful", "tuned, careful"))
NOT_MEASURED = "-"

# what is told, of which measurement, how. In braces: fields of the measurement, medians where there are several.
ROWS = (
    ("tiny jobs accepted per second, 64 connections", "submit_tiny", "{per_second:,.0f}"),
    ("p50 / p99 of the answer, ms", "submit_tiny", "{p50_ms:.1f} / {p99_ms:.1f}"),
    ("jobs of 16 KiB accepted per second", "submit_16k", "{per_second:,.0f}"),
    ("tiny jobs per second, submit to completed, two slots", "endtoend", "{per_second:,.0f}"),
    ("CPU per tiny job, all processes, us", "endtoend", "{fleet_us:,.0f}"),
    ("of it gateway / worker and children / broker / Redis", "endtoend",
     "{gateway_us:,.0f} / {workers_us:,.0f} / {broker_us:,.0f} / {redis_us:,.0f}"),
    ("submit to result, one job at a time, p50 / p99, ms", "latency", "{p50_ms:.2f} / {p99_ms:.2f}"),
    ("memory of the gateway, PSS of all its processes, MB", "gateway_memory", "{pss_mb:.0f}"),
    ("memory of a worker of two slots, PSS, MB", "worker_memory", "{pss_mb:.0f}"),
    ("product of 2,000 x 2,000, JSON in, JSON out, s", "product", "{seconds:.1f}"),
    ("CPU of all processes for it, s", "product", "{cpu_seconds:.1f}"),
    ("peak of a gateway / worker process in it, MB", "product", "{gateway_peak_mb:,.0f} / {worker_peak_mb:,.0f}"),
    ("the same with RabbitMQ's default limits", "product_default", "{outcome}"),
    ("kill -9 of the broker under load: accepted, of them lost", "broker_killed", "{accepted:.0f} of {jobs:.0f}, {lost:.0f}"),
    ("refused; the longest wait for an answer, s", "broker_killed", "{refused:.0f}; {longest_answer_s:.1f}"),
    ("10 s without Redis under load: accepted, of them lost", "redis_away", "{accepted:.0f} of {jobs:.0f}, {lost:.0f}"),
    ("refused; the longest wait for an answer, s", "redis_away", "{refused:.0f}; {longest_answer_s:.1f}"),
)


def main():
    series = read(sys.stdin)
    print("| | " + " | ".join(title for _, title in SIDES) + " |")
    print("|---" * (len(SIDES) + 1) + "|")
    for words, what, form in ROWS:
        print(f"| {words} | " + " | ".join(cell(series, f"{what}_{side}", form) for side, _ in SIDES) + " |")


def read(lines):
    """{measurement: {field: median, or the last text}}."""
    collected = {}
    for line in map(json.loads, lines):
        if line.get("bench") == "peers" and "measure" in line:
            for field, value in line.items():
                collected.setdefault(line["measure"], {}).setdefault(field, []).append(value)
    series = {what: {field: middle(values) for field, values in fields.items()} for what, fields in collected.items()}
    for fields in series.values():
        if "executors_us" in fields:
            fields["workers_us"] = fields["worker_us"] + fields["executors_us"]
    return series


def middle(values):
    return statistics.median(values) if all(isinstance(value, (int, float)) for value in values) else values[-1]


def cell(series, what, form):
    return form.format(**series[what]) if what in series else NOT_MEASURED


if __name__ == "__main__":
    main()
