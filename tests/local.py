# SPDX-License-Identifier: Apache-2.0
"""Fleets as ./run up starts them, servers, scaler and all, for the tests that need one whole."""

import json
import os
import signal
import subprocess
import sys

import psutil
import requests

from harness import BUILD, REPOSITORY, eventually, free_port

FLEET = os.path.join(REPOSITORY, "tools", "fleet")


class Local:
    """A fleet as ./run up starts it; its output is collected."""

    def __init__(self, data, *arguments, **env):
        self.data = str(data)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._arguments = ["--data", self.data, "--port", str(self.port), *arguments]
        self._env = {**environment(), **env}
        self._output = self.data + ".out"
        self.process = None

    def up(self):
        with open(self._output, "wb") as output:
            self.process = subprocess.Popen([sys.executable, FLEET, "up", *self._arguments], env=self._env,
                                            stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                            start_new_session=True)
        eventually(self._is_ready, deadline=60, what="ready: URL")
        return self

    def _is_ready(self):
        assert self.process.poll() is None, self.output()
        return f"ready: {self.url}\n" in self.output()

    def output(self):
        with open(self._output, encoding="utf-8") as file:
            return file.read()

    def stop(self, number=signal.SIGINT, seconds=60):
        """The exit status of the supervisor."""
        self.process.send_signal(number)
        return self.process.wait(seconds)

    def end(self):
        """For teardown: whatever the test left."""
        if self.process and self.process.poll() is None:
            self.process.kill()  # the kernel kills what it started
            self.process.wait()
        run("down", "--data", self.data)

    def state(self):
        with open(os.path.join(self.data, "state.json"), encoding="utf-8") as file:
            return json.load(file)

    def pid_of(self, name):
        return self.state()["processes"][name][0]

    def everyone(self):
        """All processes of the fleet, helpers of servers and executors included."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def submit(self, seconds):
        answer = requests.post(f"{self.url}/jobs/spin?seconds={seconds}", timeout=10)
        assert answer.status_code == 202, answer.text
        return answer.json()["id"]

    def job(self, job):
        return requests.get(f"{self.url}/jobs/{job}", timeout=10).json()

    def completes(self, job, deadline=30):
        eventually(lambda: self.job(job).get("state") == "completed", deadline=deadline, what=f"{job} completed")

    def workers(self):
        return requests.get(f"{self.url}/stats", timeout=10).json()["workers"]


def environment():
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MILLRACE_")}
    return {**kept, "MILLRACE_BUILD": BUILD}


def run(*arguments, seconds=60, **env):
    return subprocess.run([sys.executable, FLEET, *arguments], env={**environment(), **env}, capture_output=True,
                          text=True, timeout=seconds, check=False)
