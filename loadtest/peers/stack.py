# SPDX-License-Identifier: Apache-2.0
"""FastAPI and Celery on servers of the same configuration as Millrace's, behind the same faces as rig.Rig."""

import os
import subprocess
import urllib.parse

import measure
from fleet.folder import free_port
from fleet.process import Program
from fleet.servers import clean_environment
from rig import Failed, Rig, is_ready

APP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "app")
PYTHON = "/usr/bin/python3"
RABBITMQCTL = "/usr/lib/rabbitmq/bin/rabbitmqctl"
RESULTS_DB = 1


class CeleryRig(Rig):
    """One gateway of a process per CPU, as its manual advises; workers of a process per slot."""

    def __init__(self, style):
        """style: what tasks.py knows."""
        super().__init__("classic")  # quorum queues refuse what this Celery asks of them
        self._style = style

    def start_gateway(self, **_):
        self.port = free_port()
        program = self._program(
            "gateway", "gunicorn", "gateway:app", "--config", os.path.join(APP, "workers_end.py"),
            "--bind", f"127.0.0.1:{self.port}", "--workers", str(measure.cpu_count()),
            "--worker-class", "uvicorn.workers.UvicornWorker", "--timeout", "120", "--log-level", "warning")
        if self._style == "plain":
            program.env["FLEET_RESULT_URL"] = self._result_url()
        self.gateway = self._start(program)
        self._wait_daemon(self.gateway, lambda: is_ready(self.port))

    def start_worker(self, slots, **_):
        ready = self._folder.file("ready", f"celery-{self._count}")
        program = self._program("worker", "celery", "--app", "tasks", "worker", "--concurrency", str(slots),
                                "--without-gossip", "--without-mingle", "--loglevel", "warning")
        program.env.update(FLEET_READY_FILE=ready, FLEET_RESULT_URL=self._result_url())
        worker = self._start(program)
        self.workers.append(worker)
        self._wait_daemon(worker, lambda: os.path.exists(ready))
        return worker

    def _program(self, name, *words):
        self._count += 1
        env = {**clean_environment(), "PYTHONPATH": APP, "PYTHONDONTWRITEBYTECODE": "1", "OPENBLAS_NUM_THREADS": "1",
               "FLEET_BROKER_URL": self.amqp_url, "FLEET_STYLE": self._style,
               "FLEET_REDIS_URL": f"{self.redis_url}?db={RESULTS_DB}"}
        log = self._folder.file("log", f"{name}-{self._count}.log")
        return Program(f"peer's {name}", [PYTHON, "-m", *words], env, log)

    def _result_url(self):
        """As Celery spells it."""
        where, _, path = self.redis_url.partition("://")
        if where == "unix":
            return f"redis+socket://{urllib.parse.unquote(path)}?virtual_host={RESULTS_DB}"
        return f"{self.redis_url.rpartition('/')[0]}/{RESULTS_DB}"

    def allow_messages(self, size):
        """Up to so many bytes each; RabbitMQ's default is 128 MiB."""
        ended = subprocess.run([RABBITMQCTL, "eval", f"application:set_env(rabbit, max_message_size, {size})."],
                               env=self.broker.program.env, capture_output=True, text=True, check=False)
        if ended.returncode:
            raise Failed(f"rabbitmqctl: {ended.stderr.strip()}")


def tree_memory_mb(pid):
    """rss and pss of a process and its descendants; shared pages count once in pss, in each in rss."""
    sizes = {"rss_mb": 0.0, "pss_mb": 0.0, "processes": 0}
    waiting = [pid]
    while waiting:
        pid = waiting.pop()
        memory = measure.memory_mb(pid)
        sizes["rss_mb"] += memory["rss_mb"]
        sizes["pss_mb"] += memory["pss_mb"]
        sizes["processes"] += 1
        waiting += measure.children(pid)
    return sizes
