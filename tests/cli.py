# SPDX-License-Identifier: Apache-2.0
"""The client `millrace`, called as people and scripts call it."""
import json
import os
import subprocess

from harness import BUILD

PROGRAM = os.path.join(BUILD, "millrace")
OK, JOB, USAGE, REFUSED, AWAY, LOCAL, NOWHERE, KUBECTL, INTERRUPTED = 0, 1, 2, 3, 4, 5, 6, 7, 130


def environment(**env):
    """Without settings of whoever runs the tests."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MILLRACE_")}
    return {**kept, **{name: str(value) for name, value in env.items()}}


class Client:
    """Calls of one gateway."""

    def __init__(self, url, **env):
        self.env = environment(MILLRACE_URL=url, **env)

    def run(self, *words, status=OK, text=True, **more):
        """The ended process, whose exit status is the expected one. Without text its output is bytes."""
        more.setdefault("timeout", 120)
        ended = subprocess.run([PROGRAM, *map(str, words)], env=self.env, capture_output=True, text=text, **more)
        assert ended.returncode == status, (words, ended.returncode, ended.stdout[-2000:], ended.stderr)
        if text and status not in (OK, JOB):
            assert all(line.startswith("millrace: ") for line in ended.stderr.splitlines()), ended.stderr
            assert ended.stderr
        return ended

    def out(self, *words, **more):
        """What it printed, without the last line's end."""
        return self.run(*words, **more).stdout.rstrip("\n")

    def json(self, *words, **more):
        """The one line that --json prints."""
        lines = self.run(*words, "--json", **more).stdout.splitlines()
        assert len(lines) == 1, lines
        return json.loads(lines[0])

    def start(self, *words, **more):
        return subprocess.Popen([PROGRAM, *map(str, words)], env=self.env, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True, **more)
