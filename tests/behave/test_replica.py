# SPDX-License-Identifier: Apache-2.0
"""States and results by a replica of Redis: what it tells is true, and what it cannot know the primary tells."""
import hashlib
import io
import re
import socket
import tempfile
import threading
import time

import numpy
import pytest
import redis

from harness import eventually
from replica import Replica


@pytest.fixture
def replica(servers):
    with tempfile.TemporaryDirectory(prefix="millrace-replica-") as folder:
        replica = Replica(servers, folder)
        yield replica
        replica.close()


@pytest.fixture
def gateway(servers, fleet, replica):
    gateway = fleet.start_gateway(MILLRACE_REDIS_READ_URL=f"redis://127.0.0.1:{replica.port}/0")
    reads_by_replica(fleet, fleet.submit_hash(b"a job that may be asked for"))
    return gateway


def reads(fleet, answer):
    text = fleet.call("GET", "/metrics").text
    return int(re.search(rf'^millrace_replica_reads_total{{answer="{answer}"}} (\d+)$', text, re.MULTILINE)[1])


def reads_by_replica(fleet, job):
    """Until the state of this job is told by the replica."""
    def told():
        before = reads(fleet, "given")
        assert fleet.job(job)
        return reads(fleet, "given") > before
    eventually(told, deadline=30, what="a state told by the replica")


def test_states_and_results_are_told_by_the_replica(fleet, gateway, replica):
    fleet.start_worker()
    a = [[1.5, 2], [3, 4]]
    jobs = {fleet.submit_hash(b"x%d" % n): hashlib.sha512(b"x%d" % n).hexdigest() for n in range(5)}
    product = fleet.submit_matrix(a, a)
    for job in (*jobs, product):
        assert fleet.wait_end(job)["state"] == "completed"
        reads_by_replica(fleet, job)
    eventually(lambda: all(fleet.job(job)["state"] == "completed" for job in (*jobs, product)))
    before, again = reads(fleet, "given"), reads(fleet, "asked-again")
    for job, value in jobs.items():
        assert fleet.result(job).json()["value"] == value
    assert fleet.result(product).json()["C"] == [[8.25, 11], [16.5, 22]]
    assert reads(fleet, "given") == before + 6 and reads(fleet, "asked-again") == again


def test_a_product_that_fell_into_tiles_is_told_by_the_replica(fleet, gateway, replica):
    fleet.start_worker()
    content = io.BytesIO()
    numpy.save(content, numpy.ones((150, 150)))
    answer = fleet.call("POST", "/matrix_multiplication", params={"tile_m": 64, "tile_n": 64},
                        files={name: (name, content.getvalue(), "application/octet-stream") for name in "AB"})
    job = answer.json()["id"]
    assert fleet.wait_end(job)["tiles"] == {"total": 9, "done": 9}
    eventually(lambda: fleet.job(job)["state"] == "completed")
    reads_by_replica(fleet, job)
    before = reads(fleet, "given")
    assert fleet.result(job).json()["C"] == [[150] * 150] * 150
    assert reads(fleet, "given") == before + 1


def test_what_the_replica_has_not_heard_of_the_primary_tells(fleet, gateway, replica):
    """Who was told an id finds it, and who was told of an end finds the result."""
    early = fleet.submit("spin", seconds=0)
    reads_by_replica(fleet, early)
    replica.hold_up()
    late = fleet.submit_hash(b"late")
    assert fleet.job(late)["state"] == "pending"
    fleet.start_worker()
    for job in (early, late):
        assert fleet.wait_end(job)["state"] == "completed"
        assert fleet.call("GET", f"/jobs/{job}/result").status_code == 200
    assert reads(fleet, "asked-again") >= 3
    replica.link.frozen = False
    reads_by_replica(fleet, late)
    eventually(lambda: fleet.job(late)["state"] == "completed")


@pytest.mark.parametrize("harm", ["kill9", "sigstop"])
def test_without_the_replica_the_primary_tells_all(fleet, gateway, replica, harm):
    job = fleet.submit_hash(b"a")
    getattr(replica, harm)()
    assert fleet.job(job)["id"] == job  # within the time that a silent server has
    before = reads(fleet, "given")
    for _ in range(20):
        assert fleet.job(job)["id"] == job
    assert reads(fleet, "given") == before
    if harm == "kill9":
        replica.start()
    else:
        replica.sigcont()
    reads_by_replica(fleet, job)


def test_a_replica_that_lost_its_primary_is_not_believed(fleet, gateway, replica):
    job = fleet.submit_hash(b"a")
    reads_by_replica(fleet, job)
    replica.link.refusing = True
    replica.link.cut()
    eventually(lambda: replica.info("master_link_status") == "down")

    def not_asked():
        before = reads(fleet, "given") + reads(fleet, "asked-again")
        assert fleet.job(job)
        return reads(fleet, "given") + reads(fleet, "asked-again") == before
    eventually(not_asked, what="the replica left alone")
    replica.link.refusing = False
    reads_by_replica(fleet, job)


def test_a_restarted_primary_is_another_epoch_until_the_replica_has_it(servers, fleet, gateway, replica):
    job = fleet.submit_hash(b"a")
    reads_by_replica(fleet, job)
    servers.redis.restart()
    eventually(lambda: fleet.call("PUT", "/enqueue?iterations=1", data=b"b").status_code == 202)
    reads_by_replica(fleet, job)
    fleet.start_worker()
    assert fleet.wait_end(job)["state"] == "completed"
    assert fleet.result(job).json()["value"] == hashlib.sha512(b"a").hexdigest()


def test_a_replica_that_was_promoted_behind_our_back_is_not_believed(fleet, gateway, replica):
    """It has the epoch that the gateway knows, and hears of nothing any more."""
    job = fleet.submit_hash(b"a")
    reads_by_replica(fleet, job)
    replica.promote()
    fleet.start_worker()
    assert fleet.wait_end(job)["state"] == "completed"
    eventually(lambda: fleet.job(job)["state"] == "completed", deadline=10)
    eventually(lambda: gateway.events("replica-down"))
    before = reads(fleet, "given")
    for _ in range(20):
        assert fleet.job(job)["state"] == "completed"
    assert reads(fleet, "given") == before


def test_a_failure_that_a_person_has_taken_back_is_not_told(fleet, gateway, replica):
    worker = fleet.start_worker()
    job = fleet.submit("spin", seconds=30, timeout=1, attempts=1)
    assert fleet.wait_end(job)["state"] == "failed"
    eventually(lambda: redis.Redis(port=replica.port).hget(f"job:{job}", "state") == b"failed")
    worker.stop()
    replica.hold_up()
    assert fleet.call("POST", f"/jobs/{job}/retry").status_code == 202
    assert fleet.job(job)["state"] == "pending"


def test_a_replica_that_is_late_keeps_no_crowd_waiting(fleet, gateway, replica):
    job = fleet.submit_hash(b"a")
    reads_by_replica(fleet, job)
    replica.sigstop()
    first = threading.Thread(target=fleet.job, args=(job,))
    first.start()
    first.join(0.5)
    assert first.is_alive()
    began = time.monotonic()
    for _ in range(20):
        assert fleet.job(job)["id"] == job
    assert time.monotonic() - began < 1 and first.is_alive()
    first.join()


def test_a_url_that_is_none_is_named(fleet, servers):
    gateway = fleet.start_gateway(wait=False, MILLRACE_REDIS_READ_URL="http://:secret@127.0.0.1/")
    assert gateway.wait() == 2
    refused, = gateway.events("cannot-start")
    assert "MILLRACE_REDIS_READ_URL" in refused["reason"] and "secret" not in gateway.log()


def test_a_client_that_hangs_up_and_an_end_in_the_middle_of_a_read(fleet, gateway, replica):
    job = fleet.submit_hash(b"a")
    reads_by_replica(fleet, job)
    replica.sigstop()
    address = ("127.0.0.1", int(gateway.url.rsplit(":", 1)[1]))
    with socket.create_connection(address) as gone, socket.create_connection(address) as stays:
        for client in (gone, stays):
            client.sendall(f"GET /jobs/{job} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        gone.shutdown(socket.SHUT_RDWR)
        stays.settimeout(0.3)
        with pytest.raises(TimeoutError):
            stays.recv(1)
        gateway.sigterm()
        stays.settimeout(10)
        assert stays.recv(12) in (b"HTTP/1.1 200", b"HTTP/1.1 503")
        assert gateway.wait() == 0
