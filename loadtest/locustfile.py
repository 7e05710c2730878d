# SPDX-License-Identifier: Apache-2.0
"""The clients of the load test, for Locust; ./run bench load starts it.

    locust -f loadtest/locustfile.py --headless --host URL --shape burst --html report.html

Requests leave when the shape says so (crowd/shapes.py), whatever became of
those before. Each accepted job is followed by long polls until it has ended,
its result is fetched and checked (crowd/mix.py). Locust's statistics have the
requests by route and, as requests of the type `job`, the time from each submit
to its checked result; what is wrong or missing is a failure there, and Locust's
exit status is 1. The test ends when every job has. MILLRACE_API_KEY holds the
key of a fleet that wants one.
"""

import json
import math
import os
import random
import signal
import sys
import time

import gevent
from locust import FastHttpUser, LoadTestShape, events, task

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from crowd import shapes, target  # noqa: E402
from crowd.ledger import Ledger  # noqa: E402
from crowd.mix import Mix, Wrong  # noqa: E402

POLL_SECONDS = 20  # one long poll; far below what clients and proxies in between take for silence
AGAIN_SECONDS = 0.1  # between polls: a gateway that stops answers them early
USERS_PER_RATE = 2  # a submit may take so many seconds before the next arrivals are late
LEAST_USERS = 10
FOLLOWED_MAX = 256  # connections of one user
ENDED = ("completed", "failed", "cancelled")


class Crowd:
    """What the users of this process share: arrivals not yet taken, jobs not yet ended."""

    def __init__(self, options):
        plan = shapes.stages(options.shape, options.seconds or None, options.rate or None)
        self.ledger = Ledger(shapes.arrivals(plan, random.Random(options.seed)))
        self.users = max(LEAST_USERS, math.ceil(USERS_PER_RATE * shapes.peak_per_second(plan)))
        self.mix = Mix(options.seed)
        self.patience = options.patience
        self.key = target.key()
        self.start = None
        self._left = iter(self.ledger.entries)

    def take(self):
        """The next arrival; None: all are taken."""
        return next(self._left, None)

    def now(self):
        return time.monotonic() - self.start

    def is_over(self):
        return self.start is not None and self.ledger.is_settled()

    def is_too_late(self):
        entries = self.ledger.entries
        return self.start is not None and bool(entries) and self.now() > entries[-1].due + self.patience


crowd = None  # Locust makes users and shape by itself, and hands them nothing


@events.init_command_line_parser.add_listener
def add_options(parser):
    parser.add_argument("--shape", choices=sorted(shapes.SHAPES), default="burst")
    parser.add_argument("--seconds", type=float, default=0, help="stretches the shape to so long (0: as it is)")
    parser.add_argument("--rate", type=float, default=0, help="requests per minute at its highest (0: as it is)")
    parser.add_argument("--patience", type=float, default=300, help="seconds for the last job to complete")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--ledger", default="", help="file to leave: a JSON line per arrival")


@events.init.add_listener
def make_crowd(environment, **_):
    global crowd
    crowd = Crowd(environment.parsed_options)


@events.test_start.add_listener
def begin(environment, **_):
    crowd.start = time.monotonic() + 1  # by when all users are there
    for number in (signal.SIGINT, signal.SIGTERM):  # Locust itself would leave no report of a shape that is broken off
        gevent.signal_handler(number, give_up, environment, "the clients were stopped before it ended")


@events.quitting.add_listener
def leave_ledger(environment, **_):
    failures = [{"method": error.method, "name": error.name, "error": str(error.error), "count": error.occurrences}
                for error in environment.stats.errors.values() if error.method != "job"]
    if environment.parsed_options.ledger:
        crowd.ledger.write(environment.parsed_options.ledger, failures)


def give_up(environment, why):
    for entry in crowd.ledger.give_up(why):
        count(environment, entry, Wrong(why))


def count(environment, entry, fault, size=0):
    """Tells Locust's statistics how a job ended."""
    spent = 0.0 if entry.sent is None else crowd.now() - entry.sent
    environment.events.request.fire(request_type="job", name=entry.name, response_time=1000 * spent,
                                    response_length=size, exception=fault, context={}, response=None,
                                    start_time=time.time(), url="")


class Shape(LoadTestShape):
    """All users at once, until nothing is left to do: how fast requests come is no matter of their number."""

    def tick(self):
        if crowd.is_too_late():
            give_up(self.runner.environment, f"not completed {crowd.patience:g} s after the last arrival")
        return None if crowd.is_over() else (crowd.users, crowd.users)


class Client(FastHttpUser):
    concurrency = FOLLOWED_MAX
    network_timeout = POLL_SECONDS + 40.0
    insecure = False  # the key is for nobody else

    @task
    def next_arrival(self):
        entry = crowd.take()
        if entry is None:
            gevent.sleep(1)  # what it sent is still followed
            return
        job = crowd.mix.draw()
        entry.name = job.name
        gevent.sleep(max(0.0, entry.due - crowd.now()))
        gevent.spawn(self._live, job, entry)

    def _live(self, job, entry):
        """From the submit to the checked result. Its end, good or bad, is in the ledger and in the statistics."""
        entry.sent = crowd.now()
        size, fault = 0, None
        try:
            job_id = self._submit(job)
            entry.accepted = crowd.now()
            self._wait_end(job_id)
            size = self._check_result(job, job_id)
        except Wrong as wrong:
            fault = wrong
        except Exception as error:  # whatever JSON, NumPy and Locust raise on bytes that they did not expect
            fault = Wrong(f"an answer that cannot be read: {error!r}")
        if entry.fault:
            return  # given up meanwhile
        if fault:
            entry.fault = str(fault)
        else:
            entry.done = crowd.now()
        count(self.environment, entry, fault, size)

    def _call(self, method, path, name, data=None, **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        if crowd.key:
            headers["Authorization"] = f"Bearer {crowd.key}"
        answer = self.client.request(method, path, name=name, data=data, headers=headers)
        if not 200 <= answer.status_code < 300:
            raise Wrong(f"{name} was answered by {answer.status_code}: {(answer.text or '')[:200]}")
        return answer.content

    def _submit(self, job):
        """The key: the HTTP client may send a request again when it finds a kept connection closed."""
        key = f"crowd-{random.SystemRandom().getrandbits(128):032x}"
        answer = self._call(job.method, job.path, job.path.partition("?")[0], job.body,
                            Content_Type=job.content_type, Idempotency_Key=key)
        return json.loads(answer)["id"]

    def _wait_end(self, job_id):
        while True:
            record = json.loads(self._call("GET", f"/jobs/{job_id}?wait={POLL_SECONDS}", "/jobs/ID?wait"))
            if record["state"] == "completed":
                return
            if record["state"] in ENDED:
                raise Wrong(f"{job_id} ended as {record['state']}: {record.get('error')}")
            gevent.sleep(AGAIN_SECONDS)

    def _check_result(self, job, job_id):
        content = self._call("GET", f"/jobs/{job_id}/result" + (f"?{job.window}" if job.window else ""),
                             "/jobs/ID/result", Accept=job.accept)
        job.check(content)
        return len(content)
