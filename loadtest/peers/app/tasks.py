# SPDX-License-Identifier: Apache-2.0
"""The peer's worker: Celery, set up as FLEET_STYLE says.

    plain    as Celery comes: messages and results are JSON, a job is acked before it runs, four are prefetched per slot
    tuned    for jobs that take time and should not get lost, by its manual: acked when it has ended, one per slot. And
             for speed: messages and results are msgpack, which costs a fraction of JSON where there are numbers
    careful  tuned, and what the manual leaves out of its advice, for its price: each message waits for the broker's
             confirm, and results are tried for a minute while Redis is away
"""

import base64
import hashlib
import os
import time

import msgpack
import numpy
import ujson
from celery import Celery
from celery.backends.redis import RedisBackend
from celery.signals import worker_ready

STYLE = os.environ["FLEET_STYLE"]
RESULT_SECONDS, RESULT_TRY_MS = 60, 500
# A tuned gateway has no result backend: with one, Celery subscribes to each job's channel at its submit.
RESULT_URL = os.environ.get("FLEET_RESULT_URL", "disabled://")

fleet = Celery("fleet", broker=os.environ["FLEET_BROKER_URL"], backend=RESULT_URL)
if STYLE != "plain":
    fleet.conf.update(
        task_acks_late=True,  # a job whose worker dies is delivered again
        task_reject_on_worker_lost=True,  # also when only the child process dies
        worker_prefetch_multiplier=1,
        task_serializer="msgpack",
        result_serializer="msgpack",
        accept_content=["msgpack"],
        broker_pool_limit=16,
        worker_disable_rate_limits=True,
    )
if STYLE == "careful":
    fleet.conf.update(
        broker_transport_options={"confirm_publish": True},
        result_backend_always_retry=True,
        result_backend_max_sleep_between_retries_ms=RESULT_TRY_MS,
        result_backend_max_retries=RESULT_SECONDS * 1000 // RESULT_TRY_MS,
        result_backend_transport_options={"retry_policy": {"max_retries": None, "timeout": RESULT_SECONDS}},
    )
    # Celery has this since 5.5; before, the Redis backend takes no error for one to try again after.
    RedisBackend.exception_safe_to_retry = lambda self, error: isinstance(error, self.connection_errors)


def packed(content):
    """Bytes, as they can be in a message."""
    return base64.b64encode(content).decode("ascii") if STYLE == "plain" else content


def unpacked(content):
    return base64.b64decode(content) if STYLE == "plain" else content


def read_result(text):
    """What the backend wrote."""
    return ujson.loads(text) if STYLE == "plain" else msgpack.unpackb(text)


@worker_ready.connect
def say_so(**_):
    """For whoever waits for this worker."""
    with open(os.environ["FLEET_READY_FILE"], "w", encoding="ascii"):
        pass


@fleet.task
def multiply(a, b):
    return {"C": (numpy.array(a) @ numpy.array(b)).tolist()}


@fleet.task
def chain(content, iterations):
    digest = unpacked(content)
    for _ in range(iterations):
        digest = hashlib.sha512(digest).digest()
    return {"value": digest.hex()}


@fleet.task
def spin(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass
    return {}
