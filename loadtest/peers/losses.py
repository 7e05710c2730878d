# SPDX-License-Identifier: Apache-2.0
"""What a fleet loses of the jobs that it accepted, while one of its servers goes away and comes back.

Clients submit jobs of a known length at a steady pace for LOAD_SECONDS; meanwhile the server is taken away. Then each
accepted job is asked for until it is completed, or until none has completed for QUIET_SECONDS.
"""

import concurrent.futures
import http.client
import json
import threading
import time
from dataclasses import dataclass, field

from rig import wait_for

PER_SECOND, JOB_SECONDS = 40, 0.1  # twice what two slots can do: some are always waiting
LOAD_SECONDS = 20
AWAY_AT_SECONDS, AWAY_SECONDS = 4, 10
CLIENTS = 32
ANSWER_SECONDS = 30  # a client that has no answer by then gives up
QUIET_SECONDS = 30  # longer than any lease, retry delay or reconnect of either side
SETTLED_SECONDS = 20


@dataclass
class Tally:
    accepted: list = field(default_factory=list)  # ids
    refused: int = 0
    longest_answer_s: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, job, seconds):
        with self.lock:
            self.longest_answer_s = max(self.longest_answer_s, seconds)
            if job:
                self.accepted.append(job)
            else:
                self.refused += 1


def broker_killed(rig):
    """kill -9, and started again at once, which takes it some seconds."""
    wait_for(rig.broker_is_settled, SETTLED_SECONDS, "the names of the queues on disk")

    def kill():
        rig.broker.kill()
        rig.start_broker_again()

    return _run(rig, kill)


def redis_away(rig):
    """Stopped in order, and started on its data AWAY_SECONDS later."""
    def leave():
        rig.redis.stop(20)
        time.sleep(AWAY_SECONDS)
        rig.start_redis_again()

    return _run(rig, leave)


def _run(rig, break_it):
    rig.wait_completed(rig.submit("POST", "/jobs/spin?seconds=0.01", b""))  # to warm up
    tally = Tally()
    stopped = threading.Event()
    load = threading.Thread(target=_submit_all, args=(rig.port, tally, stopped))
    load.start()
    try:
        time.sleep(AWAY_AT_SECONDS)
        break_it()  # here: a process dies with the thread that started it
        load.join()
    except BaseException:
        stopped.set()
        raise
    completed = _count_completed(rig.port, tally.accepted)
    return {"jobs": PER_SECOND * LOAD_SECONDS, "accepted": len(tally.accepted), "refused": tally.refused,
            "completed": completed, "lost": len(tally.accepted) - completed,
            "longest_answer_s": tally.longest_answer_s}


def _submit_all(port, tally, stopped):
    begin = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as clients:
        for number in range(PER_SECOND * LOAD_SECONDS):
            if stopped.wait(max(0.0, begin + number / PER_SECOND - time.monotonic())):
                return
            clients.submit(_submit_one, port, tally)


def _submit_one(port, tally):
    start = time.monotonic()
    status, answer = _call(port, "POST", f"/jobs/spin?seconds={JOB_SECONDS}")
    tally.note(json.loads(answer)["id"] if status == 202 else None, time.monotonic() - start)


def _call(port, method, path):
    """(status, body); (0, b"") where none came."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_SECONDS)
    try:
        connection.request(method, path, b"" if method == "POST" else None)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (OSError, http.client.HTTPException):
        return 0, b""
    finally:
        connection.close()


def _count_completed(port, jobs):
    """As many as are completed when nothing moves any more."""
    left, moved = set(jobs), time.monotonic()
    while left and time.monotonic() < moved + QUIET_SECONDS:
        done = {job for job in left if _is_completed(port, job)}
        if done:
            left -= done
            moved = time.monotonic()
        else:
            time.sleep(0.5)
    return len(jobs) - len(left)


def _is_completed(port, job):
    status, answer = _call(port, "GET", f"/jobs/{job}")
    return status == 200 and json.loads(answer)["state"] == "completed"
