# SPDX-License-Identifier: Apache-2.0
"""Jobs whose inputs or results are blobs, and groups, as workers live through them. Messages go in by hand; a gateway
is there where a group's members have to be published, or where a worker has no directory of its own."""

import hashlib
import io
import json
import os
import signal
import socket

import numpy
import pytest
from bench import Bench, Blobs, new_id
from harness import eventually

SHORT_LEASE = 3
INLINE_MAX = 262144


class Large(Bench):
    """A bench with blobs, and products of matrices in them."""

    def __init__(self, servers, fleet):
        super().__init__(servers, fleet)
        self.blobs = Blobs(fleet.blob_dir)

    def put_product(self, a, b, **params):
        """Of two arrays, each a blob."""
        names = [self.blobs.put(operand) for operand in (a, b)]
        return self.put_refs(a.shape, b.shape, [in_blob(i, operand) for i, operand in enumerate((a, b))], names, **params)

    def put_random(self, m, k, n, **params):
        return self.put_refs((m, k), (k, n), [{"at": "random", "seed": 1}, {"at": "random", "seed": 2}], [], **params)

    def put_refs(self, a_shape, b_shape, operands, names, **params):
        refs = {"blobs": names, "A": operands[0], "B": operands[1]}
        return self.put("matrix", refs=refs, m=a_shape[0], k=a_shape[1], n=b_shape[1], **params)

    def result(self, job):
        """The product of a job that has completed, in one piece or in tiles."""
        assert self.field(job, "state") == "completed"
        if self.field(job, "total") is None:
            return self.blobs.load(self.field(job, "blob"))
        layout = json.loads(self.field(job, "layout"))
        rows, cols, tile_rows, tile_cols = (layout[name] for name in ("rows", "cols", "tile_rows", "tile_cols"))
        product = numpy.full((rows, cols), numpy.nan)
        across = -(-cols // tile_cols)
        for number, fence in self.redis.hgetall(f"sealed:{job}").items():
            row, col = int(number) // across * tile_rows, int(number) % across * tile_cols
            tile = self.blobs.load(f"{job}-{number}-{fence}")
            assert tile.shape == (min(tile_rows, rows - row), min(tile_cols, cols - col))
            product[row:row + tile_rows, col:col + tile_cols] = tile
        return product

    def done(self, job):
        return int(self.field(job, "done") or 0)

    def running(self):
        """Jobs that some worker holds."""
        return [key for key in self.redis.keys("job:*") if self.redis.hget(key, "state") == "in-progress"
                and self.redis.hget(key, "owner")]


def in_blob(number, array):
    return {"at": "blob", "blob": number, "offset": 128, "dtype": f"{array.dtype.kind}{array.dtype.itemsize}",
            "order": "C"}


def integers(rows, cols, seed=0):
    """Small ones as float64: their products are exact in any order."""
    return numpy.random.default_rng(seed).integers(-9, 10, (rows, cols)).astype(numpy.float64)


@pytest.fixture
def bench(servers, fleet):
    return Large(servers, fleet)


# ---- one job ------------------------------------------------------------------------


def test_a_product_of_blobs_that_is_large_becomes_a_blob(bench):
    worker = bench.fleet.start_worker()
    a, b = integers(300, 200), integers(200, 250, 1)
    job = bench.put_product(a, b)
    bench.wait(job, "completed")
    name = bench.field(job, "blob")
    assert name == f"{job}-{bench.field(job, 'fence')}"
    assert (bench.result(job) == a @ b).all()
    size = 128 + 300 * 250 * 8
    assert (bench.field(job, "bytes"), bench.blobs.sum(name)["size"]) == (str(size), size)
    assert json.loads(bench.field(job, "verified"))["method"] == "freivalds"
    assert bench.blobs.unsealed() == []
    executor, = worker.executors()
    assert not any("/blobs/" in os.readlink(f"/proc/{process}/fd/{fd}") for process in (worker.pid, executor)
                   for fd in os.listdir(f"/proc/{process}/fd"))
    bench.assert_all_acked("matrix")


def test_a_small_product_of_large_operands_stays_in_the_record(bench):
    bench.fleet.start_worker()
    a, b = integers(10, 9000), integers(9000, 10, 1)
    job = bench.put_product(a, b)
    bench.wait(job, "completed")
    assert bench.field(job, "blob") is None and bench.field(job, "bytes") == str(128 + 800)
    assert bench.blobs.sealed(job) == []


def test_a_blob_that_is_missing_fails_the_job_for_good(bench):
    bench.fleet.start_worker()
    a = integers(300, 300)
    gone = new_id()
    job = bench.put_refs(a.shape, a.shape, [in_blob(0, a), in_blob(1, a)], [bench.blobs.put(a), gone])
    bench.wait(job, "failed")
    assert bench.field(job, "code") == "no-blob" and gone in bench.field(job, "detail")
    assert bench.field(job, "attempt") == "1" and bench.blobs.unsealed() == []
    bench.assert_all_acked("matrix")


@pytest.mark.parametrize("refs", ["{", "[]", '{"blobs":{}}', '{"blobs":[1]}', '{"blobs":["../../etc/passwd"]}',
                                  '{"blobs":[""]}', json.dumps({"blobs": [new_id()] * 5})],
                         ids=["cut", "list", "object", "number", "path", "empty", "five"])
def test_refs_that_are_none_are_undecodable_and_lead_nowhere(bench, refs):
    worker = bench.fleet.start_worker()
    job = bench.put("matrix", b"\0" * 16, refs=refs, m=1, k=1, n=1)
    bench.wait(job, "failed")
    assert bench.field(job, "code") == "undecodable"
    eventually(lambda: worker.events("message-dead"))


def test_a_worker_without_a_directory_leaves_such_jobs_to_others(bench):
    without = bench.fleet.start_worker(MILLRACE_BLOB_DIR="")
    a = integers(300, 300)
    job = bench.put_product(a, a)
    bench.wait(job, "retrying")
    assert bench.field(job, "code") == "io" and "MILLRACE_BLOB_DIR" in bench.field(job, "detail")
    without.stop()
    bench.fleet.start_worker()
    bench.wait(job, "completed", deadline=20)
    assert (bench.result(job) == a @ a).all()


def test_an_executor_that_is_killed_in_the_middle_leaves_no_blob(bench):
    worker = bench.fleet.start_worker()
    job = bench.put_random(2400, 2400, 2400)
    eventually(lambda: len(bench.blobs.unsealed()) == 1)
    os.kill(worker.executors()[0], signal.SIGKILL)
    bench.wait(job, "completed", deadline=60)
    assert bench.field(job, "losses") == "1" and bench.field(job, "attempt") == "2"
    assert bench.blobs.sealed(job) == [bench.field(job, "blob")] and bench.blobs.unsealed() == []


def test_a_cancelled_job_leaves_no_blob(bench):
    worker = bench.fleet.start_worker()
    job = bench.put_random(3600, 3600, 3600)
    eventually(lambda: len(bench.blobs.unsealed()) == 1)
    executor = worker.executors()[0]
    bench.redis.hset(f"job:{job}", "state", "cancelled")
    eventually(lambda: executor not in worker.executors() and bench.blobs.unsealed() == [])
    assert bench.blobs.sealed(job) == []


def test_a_job_that_is_handed_back_leaves_no_blob_and_runs_elsewhere(bench):
    worker = bench.fleet.start_worker(MILLRACE_GRACE_SECONDS=0)
    job = bench.put_random(2400, 2400, 2400)
    eventually(lambda: len(bench.blobs.unsealed()) == 1)
    worker.sigterm()
    assert worker.wait() == 0
    assert bench.field(job, "state") == "pending" and bench.blobs.unsealed() == []
    bench.fleet.start_worker()
    bench.wait(job, "completed", deadline=60)
    assert bench.field(job, "losses") in (None, "0") and bench.field(job, "attempt") == "1"


@pytest.mark.parametrize("when", ["run", "seal"])
def test_a_worker_that_is_killed_leaves_a_temporary_file_at_most(bench, when):
    first = bench.fleet.start_worker(MILLRACE_LEASE_SECONDS=SHORT_LEASE)
    job = bench.put_random(2000, 2000, 2000)
    folder = os.path.join(bench.blobs.path, job[34:36])
    if when == "run":
        eventually(lambda: len(bench.blobs.unsealed()) == 1)
    else:  # its checksum is put beside the place of the blob, then the blob there
        eventually(lambda: os.path.isdir(folder) and any(name.startswith(job) for name in os.listdir(folder)),
                   deadline=60, every=0)
    first.kill9()
    bench.fleet.start_worker(MILLRACE_LEASE_SECONDS=SHORT_LEASE)
    bench.wait(job, "completed", deadline=60)
    name = bench.field(job, "blob")
    assert name in bench.blobs.sealed(job) and len(bench.blobs.sealed(job)) <= (1 if when == "run" else 2)
    assert bench.result(job).shape == (2000, 2000) and len(bench.blobs.unsealed()) <= 1
    bench.assert_all_acked("matrix")


# ---- groups -----------------------------------------------------------------------------


@pytest.fixture
def pair(bench):
    """With a gateway, and two workers of one slot."""
    bench.fleet.start_gateway()
    for _ in range(2):
        bench.fleet.start_worker(MILLRACE_LEASE_SECONDS=SHORT_LEASE)
    return bench


@pytest.mark.parametrize("m, k, n, tile_m, tile_n", [(300, 200, 250, 100, 100), (301, 7, 199, 100, 64),
                                                     (64, 64, 64, 64, 63), (9, 1, 9, 1, 4)])
def test_a_product_is_computed_in_tiles(pair, m, k, n, tile_m, tile_n):
    a, b = integers(m, k), integers(k, n, 1)
    job = pair.put_product(a, b, tile_m=tile_m, tile_n=tile_n)
    pair.wait(job, "completed")
    assert (pair.result(job) == a @ b).all()
    tiles = -(-m // tile_m) * -(-n // tile_n)
    assert (pair.field(job, "total"), pair.done(job), pair.field(job, "progress")) == (str(tiles), tiles, "1")
    assert pair.field(job, "attempt") == "1" and json.loads(pair.field(job, "verified"))["method"] == "freivalds"
    assert len(pair.blobs.sealed(job)) == tiles and pair.blobs.unsealed() == []


def test_the_operands_of_tiles_may_travel_in_the_message(pair):
    a, b = integers(60, 50), integers(50, 70, 1)
    job = pair.put("matrix", a.tobytes() + b.tobytes(), m=60, k=50, n=70, tile_m=20, tile_n=30)
    pair.wait(job, "completed")
    assert (pair.result(job) == a @ b).all() and pair.field(job, "total") == "9"


def test_a_product_beyond_the_memory_is_cut_and_its_message_says_how(bench):
    bench.fleet.start_gateway()
    bench.fleet.start_worker(MILLRACE_MEMORY_MAX=64 << 20)
    job = bench.put_random(3000, 20, 3000)
    eventually(lambda: bench.field(job, "total"))
    layout = json.loads(bench.field(job, "layout"))
    cut = {"tile_m": layout["tile_rows"], "tile_n": layout["tile_cols"]}
    kept = json.loads(bench.redis.get(f"in:{job}").split("\n", 1)[0])  # for a retry by a person
    assert cut.items() <= json.loads(kept["params"]).items()
    properties = eventually(lambda: bench.take("delay.32"))
    assert properties.message_id == job and cut.items() <= json.loads(properties.headers["params"]).items()
    assert "tile" not in json.loads(properties.headers["params"])
    bench.wait(job, "completed", deadline=60)
    assert int(bench.field(job, "total")) > 1 and not numpy.isnan(bench.result(job)).any()


def test_a_group_outlives_a_worker_that_is_killed(pair):
    a, b = integers(1600, 2000), integers(2000, 1600, 1)
    job = pair.put_product(a, b, tile_m=100, tile_n=200)
    eventually(lambda: pair.done(job) > 8, every=0.005)
    pair.fleet.workers[0].kill9()
    assert pair.done(job) < 128
    pair.wait(job, "completed", deadline=90)
    assert (pair.result(job) == a @ b).all()


def test_a_cancel_reaches_all_tiles_soon(pair):
    gateway = pair.fleet.gateways[0]
    job = pair.put_random(12000, 20000, 12000, tile_m=4000, tile_n=4000)
    eventually(lambda: len(pair.running()) == 2, deadline=20)
    assert pair.fleet.call("DELETE", f"/jobs/{job}", gateway).status_code in (200, 202)
    eventually(lambda: pair.running() == [] and pair.blobs.unsealed() == [], deadline=2.5)
    assert pair.field(job, "state") == "cancelled" and pair.blobs.sealed(job) == []
    pair.assert_all_acked("matrix")


def test_two_groups_share_the_fleet(pair):
    a, b = integers(1600, 1000), integers(1000, 1600, 1)
    jobs = [pair.put_product(a, b, tile_m=100, tile_n=200), pair.put_product(b, a, tile_m=50, tile_n=100)]
    seen = []

    def is_over():
        seen.append([pair.done(job) for job in jobs])
        return all(pair.field(job, "state") == "completed" for job in jobs)

    eventually(is_over, deadline=60)
    assert any(0 < first < 128 and 0 < second < 200 for first, second in seen)
    assert (pair.result(jobs[0]) == a @ b).all() and (pair.result(jobs[1]) == b @ a).all()


def test_a_small_job_waits_for_tiles_and_not_for_the_group(pair):
    group = pair.put_random(6000, 6000, 6000, tile_m=1000, tile_n=1000)
    eventually(lambda: pair.done(group) > 0, deadline=30)
    small = pair.put("matrix", numpy.ones(2).tobytes(), m=1, k=1, n=1)
    pair.wait(small, "completed", deadline=30)
    done = pair.done(group)
    assert done < 20, done
    assert pair.field(group, "state") == "in-progress"
    pair.fleet.call("DELETE", f"/jobs/{group}")
    eventually(lambda: pair.running() == [], what="the others have their CPUs back")


def test_a_group_outlives_the_loss_of_all_that_the_store_knew(pair):
    a, b = integers(1600, 2000), integers(2000, 1600, 1)
    job = pair.put_product(a, b, tile_m=100, tile_n=200)
    eventually(lambda: pair.done(job) > 20, every=0.005)
    pair.redis.flushall()
    pair.wait(job, "completed", deadline=90)
    assert (pair.result(job) == a @ b).all()
    assert len(pair.blobs.sealed(job)) <= 128 + 8  # what had a result kept it


def test_a_tile_that_fails_fails_the_group_with_its_error(pair):
    a, b = integers(300, 200), integers(200, 300, 1)
    a[250, 7], b[7, 40] = 1e200, 1e200
    job = pair.put_product(a, b, tile_m=100, tile_n=100)
    pair.wait(job, "failed")
    assert pair.field(job, "code") == "overflow" and "member 6" in pair.field(job, "detail")
    eventually(lambda: pair.running() == [])
    pair.assert_all_acked("matrix")


def test_a_group_whose_workers_and_store_are_lost_together_keeps_what_was_sealed(pair):
    """The parent's message, which says how it is cut, is all that is left, and the blobs."""
    a, b = integers(1600, 2000), integers(2000, 1600, 1)
    job = pair.put_product(a, b, tile_m=100, tile_n=200)
    eventually(lambda: pair.done(job) > 30, every=0.005)
    for worker in pair.fleet.workers:
        worker.kill9()
    sealed = set(pair.blobs.sealed(job))
    pair.redis.flushall()
    pair.fleet.start_worker(MILLRACE_LEASE_SECONDS=SHORT_LEASE)
    eventually(pair.hurry, what="the parent's message, which waits between two visits")
    pair.wait(job, "completed", deadline=120)
    assert (pair.result(job) == a @ b).all()
    used = {f"{job}-{number}-{fence}" for number, fence in pair.redis.hgetall(f"sealed:{job}").items()}
    assert len(sealed & used) > 20 and len(pair.blobs.sealed(job)) <= 128 + 10


# ---- blobs by a gateway -----------------------------------------------------------------------


def as_npy(array):
    text = io.BytesIO()
    numpy.save(text, array)
    return text.getvalue()


def post(fleet, a, b, query=""):
    files = {"A": ("A.npy", as_npy(a)), "B": ("B.npy", as_npy(b))}
    answer = fleet.call("POST", f"/matrix_multiplication{query}", files=files)
    assert answer.status_code == 202, answer.text
    return answer.json()["id"]


def result(fleet, job):
    return numpy.load(io.BytesIO(fleet.result(job, headers={"Accept": "application/x-npy"}).content))


@pytest.mark.parametrize("query", ["", "?tile_m=150&tile_n=100"], ids=["whole", "tiles"])
def test_a_worker_that_shares_no_directory_gets_and_gives_blobs_by_a_gateway(bench, tmp_path, query):
    gateway = bench.fleet.start_gateway()
    bench.fleet.start_worker(MILLRACE_BLOB_DIR=tmp_path / "cache", MILLRACE_BLOB_URL=gateway.url)
    a, b = integers(400, 300), integers(300, 500, 1)
    job = post(bench.fleet, a, b, query)
    record = bench.fleet.wait_end(job)
    assert record["state"] == "completed", record
    assert (result(bench.fleet, job) == a @ b).all()


@pytest.fixture
def silent(bench, tmp_path):
    """A bench whose worker gets its blobs from somebody who never answers; and a job that needs one."""
    listener = socket.create_server(("127.0.0.1", 0))
    worker = bench.fleet.start_worker(MILLRACE_BLOB_DIR=tmp_path / "cache", MILLRACE_GRACE_SECONDS=0,
                                      MILLRACE_ATTEMPTS_MAX=1,
                                      MILLRACE_BLOB_URL=f"http://127.0.0.1:{listener.getsockname()[1]}")
    a = integers(300, 300)

    def put(**params):
        job = bench.put_product(a, a, **params)
        bench.wait(job, "in-progress")
        return job

    yield bench, worker, put
    listener.close()


def test_a_fetch_that_takes_too_long_ends_with_the_attempt(silent):
    bench, _, put = silent
    job = put(timeout=2)
    bench.wait(job, "failed", deadline=5)
    assert bench.field(job, "code") == "timeout"


def test_a_fetch_renews_the_lease_and_obeys_a_cancel(silent):
    bench, worker, put = silent
    job = put()
    lease = bench.field(job, "lease")
    eventually(lambda: bench.field(job, "lease") > lease)
    bench.redis.hset(f"job:{job}", "state", "cancelled")
    eventually(lambda: worker.events("job-stopped", job_id=job), deadline=2.5)
    other = bench.put("hash", b"x", iterations=1)
    bench.wait(other, "completed")  # the slot is free, whatever becomes of the fetch


def test_a_fetch_is_given_up_when_the_job_is_handed_back(silent):
    bench, worker, put = silent
    job = put()
    worker.sigterm()
    assert worker.wait(5) == 0
    assert bench.field(job, "state") == "pending"
    bench.fleet.start_worker()
    bench.wait(job, "completed")


def test_a_gateway_that_stays_away_is_a_transient_error(bench, tmp_path):
    gateway = bench.fleet.start_gateway()
    bench.fleet.start_worker(MILLRACE_BLOB_DIR=tmp_path / "cache", MILLRACE_BLOB_URL=gateway.url,
                             MILLRACE_BLOB_PATIENCE_SECONDS=0)
    a = integers(300, 300)
    name = bench.fleet.call("PUT", "/blobs", data=as_npy(a)).json()["id"]
    gateway.stop()
    job = bench.put_refs(a.shape, a.shape, [in_blob(0, a), in_blob(0, a)], [name])
    bench.wait(job, "retrying")
    assert bench.field(job, "code") == "io"
    gateway.start()
    gateway.wait_ready()
    bench.wait(job, "completed", deadline=30)
    assert (bench.result(job) == a @ a).all()


@pytest.mark.parametrize("what", ["input", "result"])
def test_a_gateway_that_is_restarted_costs_no_attempt(bench, tmp_path, what):
    gateway = bench.fleet.start_gateway()
    worker = bench.fleet.start_worker(MILLRACE_BLOB_DIR=tmp_path / "cache", MILLRACE_BLOB_URL=gateway.url,
                                      MILLRACE_ATTEMPTS_MAX=1)
    a = integers(300, 300)
    name = bench.fleet.call("PUT", "/blobs", data=as_npy(a)).json()["id"]
    gateway.kill9()
    if what == "input":
        job = bench.put_refs(a.shape, a.shape, [in_blob(0, a), in_blob(0, a)], [name])
    else:
        job = bench.put_random(300, 300, 300)
    eventually(lambda: worker.events("blobs-away"))
    assert bench.field(job, "state") == "in-progress"
    gateway.start()
    gateway.wait_ready()
    bench.wait(job, "completed")
    assert (bench.field(job, "attempt"), bench.field(job, "losses")) in (("1", None), ("1", "0"))
    assert bench.result(job).shape == (300, 300)


def test_a_large_input_of_a_hash_is_a_blob(pair):
    body = os.urandom(3_000_000)
    job = pair.fleet.submit_hash(body, 2)
    assert pair.fleet.wait_end(job)["state"] == "completed"
    assert pair.field(job, "blobs") and pair.fleet.pull() == [{"id": job, "value": chain(body, 2).hex()}]


def chain(body, iterations):
    for _ in range(iterations):
        body = hashlib.sha512(body).digest()
    return body
