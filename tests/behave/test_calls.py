# SPDX-License-Identifier: Apache-2.0
"""The calls of the gateway, as a client sees them: jobs computed by a real worker."""
import hashlib
import io
import json
import math
import os
import re
import signal

import numpy
import pytest
import requests

from harness import eventually, kinds
from store_scripts import script_text


@pytest.fixture
def fleet(fleet):
    fleet.start_gateway()
    fleet.start_worker(MILLRACE_SLOTS=2)
    return fleet


def chained_sha512(data, iterations):
    for _ in range(iterations):
        data = hashlib.sha512(data).digest()
    return data


# ---- matrices -------------------------------------------------------------------


@pytest.mark.parametrize("m,k,n", [(1, 1, 1), (2, 2, 2), (3, 5, 2), (1, 90, 1), (90, 1, 90), (128, 128, 128), (7, 300, 11)])
def test_products_of_any_shapes_that_chain_equal_numpys(fleet, m, k, n):
    random = numpy.random.default_rng(m * 1000 + k)
    a, b = random.standard_normal((m, k)), random.standard_normal((k, n))
    job = fleet.submit_matrix(a, b)
    record = fleet.wait_end(job)
    assert record["state"] == "completed", record
    c = numpy.array(fleet.result(job).json()["C"])
    assert c.shape == (m, n)
    # the error bound of a dot product of length k, both sides
    bound = 2 * k * numpy.finfo(float).eps * (abs(a) @ abs(b))
    assert (abs(c - a @ b) <= bound).all()


def test_submitting_answers_with_id_links_and_location(fleet):
    answer = fleet.call("POST", "/matrix_multiplication", json={"A": [[1, 2], [3, 4]], "B": [[5, 6], [7, 8]]})
    assert answer.status_code == 202
    body = answer.json()
    assert set(body) == {"id", "kind", "state", "links"}
    assert body["kind"] == "matrix" and body["state"] == "pending"
    assert body["links"] == {"self": f"/jobs/{body['id']}", "result": f"/jobs/{body['id']}/result"}
    assert answer.headers["Location"] == body["links"]["self"]
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", body["id"])
    assert fleet.call("GET", body["links"]["result"] + "?wait=20").json() == {"C": [[19.0, 22.0], [43.0, 50.0]]}


def test_results_come_as_json_npy_and_octets(fleet):
    a = numpy.array([[0.1, -0.0], [1e-310, 3e300]])
    job = fleet.submit_matrix(a, numpy.eye(2))
    assert fleet.wait_end(job)["state"] == "completed"
    expected = a @ numpy.eye(2)
    assert numpy.array_equal(numpy.array(fleet.result(job).json()["C"]), expected)
    npy = fleet.result(job, headers={"Accept": "application/x-npy"})
    assert npy.headers["Content-Type"] == "application/x-npy"
    assert numpy.array_equal(numpy.load(io.BytesIO(npy.content)), expected)
    raw = fleet.result(job, headers={"Accept": "text/html;q=0.9, application/octet-stream"})
    assert raw.content == expected.tobytes()
    odd = fleet.result(job, headers={"Accept": "application/x-npy;seq=0, application/json;q=0.1"})
    assert odd.headers["Content-Type"] == "application/x-npy"
    refused = fleet.call("GET", f"/jobs/{job}/result", headers={"Accept": "image/png"})
    assert refused.status_code == 406 and "application/x-npy" in refused.json()["detail"]


def test_numbers_are_printed_shortest_round_trip(fleet):
    values = [0.1, 1 / 3, 1e22, 5e-324, 1.7976931348623157e308, 123456789.123456789, -2.5e-8, 1e16]
    job = fleet.submit_matrix([[v] for v in values], [[1]])
    fleet.wait_end(job)
    text = fleet.result(job).text
    assert [row[0] for row in json.loads(text)["C"]] == values
    for literal in re.findall(r"-?[0-9.]+(?:e[+-]?[0-9]+)?", text):
        assert len(literal) <= len(repr(float(literal))) + 1, literal


def test_ranges_of_a_result(fleet):
    job = fleet.submit_hash(b"range", 1)
    fleet.wait_end(job)
    whole = chained_sha512(b"range", 1)
    octets = {"Accept": "application/octet-stream"}

    def part(header):
        return fleet.call("GET", f"/jobs/{job}/result", headers={**octets, "Range": header})

    assert (part("bytes=0-9").status_code, part("bytes=0-9").content) == (206, whole[:10])
    assert part("bytes=10-").content == whole[10:]
    assert part("bytes=-4").content == whole[-4:]
    assert part("bytes=60-1000").headers["Content-Range"] == "bytes 60-63/64"
    assert part("bytes=64-").status_code == 416
    assert part("bytes=64-").headers["Content-Range"] == "bytes */64"
    for ignored in ("lines=1-2", "bytes=5", "bytes=5-abc", "bytes=0--1", "bytes=1-2,4-5", "bytes=-", "bytes=9-3"):
        assert part(ignored).status_code == 200, ignored
    conditional = {**octets, "Range": "bytes=0-9", "If-Range": '"x"'}
    assert fleet.call("GET", f"/jobs/{job}/result", headers=conditional).content == whole
    head = fleet.call("HEAD", f"/jobs/{job}/result", headers={**octets, "Range": "bytes=0-9"})
    assert head.status_code == 200 and head.headers["Content-Length"] == "64"


def test_an_overflowing_product_fails_for_good_and_says_so(fleet):
    job = fleet.submit_matrix([[1e200]], [[1e200]])
    record = fleet.wait_end(job)
    assert record["state"] == "failed" and record["attempt"] == 1
    assert record["error"]["code"] == "overflow"
    answer = fleet.call("GET", f"/jobs/{job}/result")
    assert answer.status_code == 409 and "overflow" in answer.json()["detail"]


def test_json_as_json_allows_it(fleet):
    body = ' {\n"\\u0042" :[ [1E2,-0.5e-1 ],[0 , 1e-400]] , "A":[[ 1 ,\t2.0]]}\r\n'
    answer = fleet.call("POST", "/matrix_multiplication", data=body)
    assert answer.status_code == 202, answer.text
    c = fleet.call("GET", answer.json()["links"]["result"] + "?wait=20").json()["C"]
    assert c == [[100.0, -0.05]]


def test_a_chunked_body_is_taken(fleet):
    text = json.dumps({"A": [[2.0] * 50] * 3, "B": [[0.5]] * 50}).encode()
    pieces = (text[i:i + 7] for i in range(0, len(text), 7))
    answer = fleet.call("POST", "/matrix_multiplication", data=pieces)
    assert answer.status_code == 202
    assert fleet.call("GET", answer.json()["links"]["result"] + "?wait=20").json()["C"] == [[50.0]] * 3


def test_raw_operands_by_the_general_call(fleet):
    a, b = numpy.arange(6.0).reshape(2, 3), numpy.arange(3.0).reshape(3, 1)
    job = fleet.submit("matrix", a.tobytes() + b.tobytes(), m=2, k=3, n=1)
    fleet.wait_end(job)
    assert fleet.result(job).json()["C"] == (a @ b).tolist()


# ---- hashes -----------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 111, 112, 127, 128, 129, 16384, 262144])
def test_hashes_of_any_size_up_to_the_limit_equal_hashlibs(fleet, size):
    data = bytes(i * 7 % 251 for i in range(size))
    job = fleet.submit_hash(data, 37)
    assert fleet.wait_end(job)["state"] == "completed"
    expected = chained_sha512(data, 37)
    assert fleet.result(job).json() == {"value": expected.hex()}
    assert fleet.result(job, headers={"Accept": "application/octet-stream"}).content == expected


def test_enqueue_takes_any_content_type_and_form_files(fleet):
    data = b"a=b&c=%00\r\n\x00\xff"
    expected = chained_sha512(data, 2).hex()
    url = fleet.gateways[0].url + "/enqueue?iterations=2"
    answers = [
        requests.put(url, data=data, headers={"Content-Type": "application/x-www-form-urlencoded"}, timeout=10),
        requests.put(url, data=data, headers={"Content-Type": "application/json"}, timeout=10),
        requests.put(url, data=data, timeout=10),
        requests.put(url, data=iter([data[:3], data[3:]]), timeout=10),
        requests.put(url, files={"file": ("name.bin", data)}, timeout=10),
        requests.put(fleet.gateways[0].url + "/enqueue/?iterations=2", data=data, timeout=10),
    ]
    for answer in answers:
        assert answer.status_code == 202, answer.text
        job = answer.json()["id"]
        assert fleet.wait_end(job)["state"] == "completed"
        assert fleet.result(job).json()["value"] == expected


def test_pull_hands_out_each_job_once_newest_first(fleet):
    assert fleet.pull() == []
    jobs = []
    for i in range(5):  # one after the other, so that they end in this order
        jobs.append(fleet.submit_hash(b"%d" % i, 3))
        fleet.wait_end(jobs[-1])
    first = fleet.pull(top=2)
    assert [item["id"] for item in first] == [jobs[4], jobs[3]]
    assert first[0] == {"id": jobs[4], "value": chained_sha512(b"4", 3).hex()}
    assert [item["id"] for item in fleet.pull(top=10 ** 30)] == [jobs[2], jobs[1], jobs[0]]
    assert fleet.pull() == []
    assert fleet.result(jobs[4]).json()["value"] == first[0]["value"]  # what was pulled stays readable


def test_pull_with_an_idempotency_key_repeats_its_batch(fleet):
    fleet.wait_end(fleet.submit_hash(b"x", 1))
    key = {"Idempotency-Key": "pull-1"}
    first = fleet.call("POST", "/pullCompleted?top=5", headers=key).json()
    assert len(first) == 1
    fleet.wait_end(fleet.submit_hash(b"y", 1))
    assert fleet.call("POST", "/pullCompleted?top=5", headers=key).json() == first
    assert len(fleet.pull()) == 1


def test_two_gateways_pull_from_one_heap(fleet):
    second = fleet.start_gateway()
    jobs = {fleet.submit_hash(b"%d" % i, 1, gateway=fleet.gateways[i % 2]) for i in range(40)}
    for job in jobs:
        fleet.wait_end(job)
    pulled = []
    while batch := fleet.pull(top=3, gateway=fleet.gateways[len(pulled) % 2]):
        pulled += [item["id"] for item in batch]
    assert len(pulled) == len(set(pulled)) and set(pulled) == jobs
    assert fleet.pull(gateway=second) == []


def test_matrix_jobs_are_not_pulled(fleet):
    fleet.wait_end(fleet.submit_matrix([[1]], [[1]]))
    assert fleet.pull() == []


# ---- records ------------------------------------------------------------------------


def test_the_record_tells_the_life_of_a_job(fleet):
    job = fleet.submit("spin", seconds=0.2)
    record = fleet.wait_end(job)
    assert record["state"] == "completed" and record["kind"] == "spin" and record["id"] == job
    assert (record["attempt"], record["max_attempts"], record["losses"]) == (1, 3, 0)
    for name in ("created", "queued", "started", "finished"):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", record[name]), name
    assert record["created"] <= record["queued"] <= record["started"] <= record["finished"]
    assert 0.19 < record["run_seconds"] and record["wait_seconds"] >= 0
    assert record["progress"] == 1 and str(fleet.workers[0].pid) in record["worker"]
    assert record["result"]["content_type"] == "application/json" and record["result"]["size"] > 0
    assert "error" not in record


def test_a_long_poll_ends_with_the_job_and_not_before(fleet):
    job = fleet.submit("spin", seconds=1)
    early = fleet.call("GET", f"/jobs/{job}?wait=0.05").json()
    assert early["state"] in ("pending", "in-progress")
    record = fleet.call("GET", f"/jobs/{job}?wait=1000").json()  # larger is cut
    assert record["state"] == "completed"
    assert fleet.call("GET", f"/jobs/{job}?wait=60").json()["state"] == "completed"


def test_many_may_wait_for_one_job(fleet):
    import concurrent.futures

    job = fleet.submit("spin", seconds=1)
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        waits = [pool.submit(fleet.call, "GET", f"/jobs/{job}{path}?wait={wait}")
                 for path in ("", "/result") for wait in (20, 20, 20, 0.1, 20, 0.2, 20, 20)]
        answers = [wait.result() for wait in waits]
    assert sum(a.status_code == 200 and a.json().get("state", "completed") == "completed" for a in answers) >= 12


def waiting(fleet):
    return int(re.search(r"^millrace_http_long_polls (\d+)$", fleet.call("GET", "/metrics").text, re.MULTILINE)[1])


@pytest.mark.parametrize("side,asks", [(4, 2), (64, 3)])
def test_who_waits_is_answered_by_what_is_told_of_the_end(servers, fleet, side, asks):
    """Each call asks the store once, when it begins to wait; the end brings the record, and a result that is short."""
    import concurrent.futures

    get = hashlib.sha1(script_text("get").encode()).hexdigest()
    blockers = [fleet.submit("spin", seconds=2) for _ in range(2)]
    for blocker in blockers:
        fleet.wait_state(blocker, "in-progress")
    job = fleet.submit_matrix(numpy.eye(side), numpy.eye(side))  # for which there is no slot yet
    with concurrent.futures.ThreadPoolExecutor(2) as pool, servers.store().monitor() as monitor:
        waits = [pool.submit(fleet.call, "GET", f"/jobs/{job}{path}?wait=30") for path in ("", "/result")]
        eventually(lambda: waiting(fleet) == 2)
        record, result = (wait.result() for wait in waits)
        servers.store().echo("all have their answers")
        asked = []
        for seen in monitor.listen():
            if "all have their answers" in seen["command"]:
                break
            asked += [seen["command"]] if get in seen["command"] and job in seen["command"] else []
    assert len(asked) == asks, asked
    assert record.json() == fleet.job(job) and record.json()["state"] == "completed"
    assert result.json() == {"C": numpy.eye(side).tolist()} and result.headers["ETag"]
    for blocker in blockers:
        fleet.wait_end(blocker)


def test_progress_of_a_running_job_is_seen(fleet):
    job = fleet.submit("spin", seconds=4)
    assert eventually(lambda: 0 < fleet.job(job)["progress"] < 1)
    fleet.call("DELETE", f"/jobs/{job}")


def test_idempotency_key_gives_the_first_job(fleet):
    key = {"Idempotency-Key": "abc \"quoted\""}
    first = fleet.submit_hash(b"same", 5, headers=key)
    assert fleet.submit_hash(b"same", 5, headers=key) == first
    fleet.wait_end(first)
    again = fleet.call("PUT", "/enqueue?iterations=5", data=b"same", headers=key)
    assert again.status_code == 202 and again.json()["id"] == first and again.json()["state"] == "completed"
    for path, body in (("/enqueue?iterations=5", b"other"), ("/enqueue?iterations=6", b"same")):
        refused = fleet.call("PUT", path, data=body, headers=key)
        assert refused.status_code == 422 and refused.json()["code"] == "key-reused"
    other_kind = fleet.call("POST", "/jobs/spin?seconds=0", headers=key)
    assert other_kind.status_code == 422
    assert fleet.assert_adds_up()["accepted"] == 1


def metric(fleet, series):
    """A value of the gateway's /metrics."""
    value, = [line.rsplit(" ", 1)[1] for line in fleet.call("GET", "/metrics").text.splitlines()
              if line.startswith(series + " ")]
    return float(value)


def test_books_that_do_not_add_up_are_a_metric(fleet, servers):
    fleet.wait_end(fleet.submit_hash(b"x", 1))
    servers.store().hincrby("count", "accepted:hash", 2)
    assert metric(fleet, "millrace_books_difference") == 2
    assert fleet.call("GET", "/audit").json()["ok"] is False
    assert metric(fleet, 'millrace_audits_total{result="wrong"}') == 1
    servers.store().hincrby("count", "accepted:hash", -2)
    assert fleet.call("GET", "/audit").json()["ok"] is True
    assert metric(fleet, 'millrace_audits_total{result="ok"}') == 1


def test_retries_and_losses_are_counted(fleet):
    """A worker that is killed loses its attempt, which is made again at once; one whose executor dies asks for another."""
    job = fleet.submit("spin", seconds=30)
    fleet.wait_state(job, "in-progress")
    assert metric(fleet, 'millrace_job_losses_total{kind="spin"}') == 0
    fleet.workers[0].kill9()
    fleet.start_worker()
    eventually(lambda: metric(fleet, 'millrace_job_losses_total{kind="spin"}') == 1, deadline=30)
    fleet.wait_state(job, "in-progress")
    for executor in fleet.workers[1].executors():
        os.kill(executor, signal.SIGKILL)
    eventually(lambda: metric(fleet, 'millrace_job_losses_total{kind="spin"}') == 2)
    assert metric(fleet, 'millrace_job_retries_total{kind="spin"}') == 1
    fleet.call("DELETE", f"/jobs/{job}")


def test_stats_and_metrics_count_what_happened(fleet):
    for _ in range(3):
        fleet.wait_end(fleet.submit_hash(b"x", 1))
    fleet.wait_end(fleet.submit_matrix([[1e200]], [[1e200]]))
    stats = fleet.stats()
    assert stats["jobs"] == {"accepted": 4, "pending": 0, "in-progress": 0, "retrying": 0, "completed": 3, "failed": 1,
                             "cancelled": 0}
    assert set(stats["queues"]) == set(kinds())
    assert stats["queues"]["hash"] == {"ready": 0, "unacknowledged": 0, "oldest_seconds": 0}
    worker = eventually(lambda: fleet.stats()["workers"])[0]
    assert worker["pid"] == fleet.workers[0].pid and worker["slots"] == 2 and worker["busy"] == 0 and worker["host"]
    text = fleet.call("GET", "/metrics").text
    assert 'millrace_jobs{kind="hash",state="completed"} 3\n' in text
    assert 'millrace_jobs_accepted_total{kind="matrix"} 1\n' in text
    assert 'millrace_http_requests_total{method="PUT",route="/enqueue",code="202"} 3\n' in text
    assert "millrace_broker_up 1\n" in text and "millrace_store_up 1\n" in text
    assert "millrace_confirm_seconds_count 4\n" in text and "millrace_books_difference 0\n" in text
    assert 'millrace_job_retries_total{kind="hash"} 0\n' in text and 'millrace_job_losses_total{kind="hash"} 0\n' in text
    assert 'millrace_audits_total{result="wrong"} 0\n' in text
    eventually(lambda: 'millrace_job_run_seconds_count{kind="hash"} 3\n' in fleet.call("GET", "/metrics").text)


def test_stats_tell_what_waits_and_what_runs(fleet):
    fleet.workers[0].stop()
    jobs = [fleet.submit("spin", seconds=30) for _ in range(5)]
    queue = eventually(lambda: (q := fleet.stats()["queues"]["spin"])["ready"] == 5 and q)
    assert queue["unacknowledged"] == 0 and 0 <= queue["oldest_seconds"] < 60
    assert metric(fleet, 'millrace_oldest_pending_seconds{kind="spin"}') >= queue["oldest_seconds"]
    assert metric(fleet, 'millrace_oldest_pending_seconds{kind="hash"}') == 0
    fleet.start_worker(MILLRACE_SLOTS=2, MILLRACE_GRACE_SECONDS=0)
    eventually(lambda: fleet.stats()["queues"]["spin"]["unacknowledged"] == 2)
    assert fleet.stats()["queues"]["spin"]["ready"] == 3
    for job in jobs:
        fleet.call("DELETE", f"/jobs/{job}")
    assert math.isclose(fleet.assert_adds_up()["cancelled"], 5)


def test_liveness_and_readiness(fleet):
    assert fleet.call("GET", "/healthz").status_code == 200
    assert fleet.call("GET", "/readyz").json() == {"ready": True, "accepts_by": "broker"}
    assert fleet.call("HEAD", "/healthz").status_code == 200


def test_the_end_of_a_job_is_never_missed_by_who_waits(fleet):
    """The end may be told before the question was answered: every wait is short, whatever the order."""
    import time

    for i in range(300):
        job = fleet.submit_hash(b"%d" % i, 1)
        start = time.monotonic()
        assert fleet.call("GET", f"/jobs/{job}/result?wait=30").status_code == 200
        assert time.monotonic() - start < 15  # not by the clock: a missed end would take all of the 30 s
