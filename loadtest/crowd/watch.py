# SPDX-License-Identifier: Apache-2.0
"""Looks at GET /stats twice a second while the clients are at work."""

import http.client
import json
import threading
import time
import urllib.parse

EVERY_SECONDS = 0.5
ASK_SECONDS = 5


def ask(url, key=""):
    """The document of GET /stats. An OSError or ValueError says why there is none."""
    where = urllib.parse.urlsplit(url)
    kind = http.client.HTTPSConnection if where.scheme == "https" else http.client.HTTPConnection
    connection = kind(where.hostname, where.port, timeout=ASK_SECONDS)
    try:
        connection.request("GET", where.path.rstrip("/") + "/stats",
                           headers={"Authorization": f"Bearer {key}"} if key else {})
        answer = connection.getresponse()
        text = answer.read()
    except http.client.HTTPException as error:
        raise OSError(f"{url}: {error!r}") from None
    finally:
        connection.close()
    if answer.status != 200:
        raise ValueError(f"{url}/stats was answered by {answer.status}: {text[:200].decode(errors='replace')}")
    return json.loads(text)


def sample(stats, at):
    """What the plot needs of it. A ValueError where it is no such document."""
    try:
        return _sample(stats, at)
    except (KeyError, TypeError, AttributeError):
        raise ValueError("/stats was answered, but not by Millrace") from None


def _sample(stats, at):
    queues, workers = stats["queues"].values(), stats["workers"]
    return {"at": at,
            "ready": sum(queue["ready"] for queue in queues),
            "unacknowledged": sum(queue["unacknowledged"] for queue in queues),
            "workers": len(workers),
            "busy": sum(worker["busy"] for worker in workers),
            "accepted": stats["jobs"]["accepted"],
            "completed": stats["jobs"]["completed"]}


class Watch:
    """Samples from now until stop(); at is in seconds since the first. What could not be asked is missing, as time in
    which the gateway was too busy to say is: that is no reason to stop looking."""

    def __init__(self, url, key=""):
        self._url, self._key = url, key
        self._start = time.monotonic()
        self.samples = [sample(ask(url, key), 0.0)]
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self):
        while not self._end.wait(EVERY_SECONDS):
            try:
                stats = ask(self._url, self._key)
            except (OSError, ValueError):
                continue
            self.samples.append(sample(stats, time.monotonic() - self._start))

    def wait_workers(self, most, seconds):
        """True when no more workers than that are left, within that time."""
        deadline = time.monotonic() + seconds
        while self.samples[-1]["workers"] > most:
            if time.monotonic() > deadline:
                return False
            self._end.wait(EVERY_SECONDS / 2)
        return True

    def stop(self):
        self._end.set()
        self._thread.join(2 * ASK_SECONDS)
