# SPDX-License-Identifier: Apache-2.0
"""The peer's worker: Celery, set up by its manual for jobs that take time and should not get lost.

FLEET_CAREFUL=1 adds what the manual leaves out of its advice, for its price: each message waits for the broker's
confirm, and results are tried for a minute while Redis is away.
"""

import base64
import hashlib
import os
import time

import numpy
from celery import Celery
from celery.signals import worker_ready

IS_CAREFUL = os.environ.get("FLEET_CAREFUL") == "1"

fleet = Celery("fleet", broker=os.environ["FLEET_BROKER_URL"], backend=os.environ["FLEET_RESULT_URL"])
fleet.conf.update(
    task_acks_late=True,  # a job whose worker dies is delivered again
    task_reject_on_worker_lost=True,  # also when only the child process dies
    worker_prefetch_multiplier=1,
    task_default_delivery_mode="persistent",
    broker_pool_limit=16,
    result_expires=86400,
)
if IS_CAREFUL:
    fleet.conf.update(
        broker_transport_options={"confirm_publish": True},
        result_backend_transport_options={"retry_policy": {"max_retries": None, "timeout": 60.0}},
    )


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
    """content: base64, for messages are JSON."""
    digest = base64.b64decode(content)
    for _ in range(iterations):
        digest = hashlib.sha512(digest).digest()
    return {"value": digest.hex()}


@fleet.task
def spin(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass
    return {}
