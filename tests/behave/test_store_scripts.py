# SPDX-License-Identifier: Apache-2.0
"""The Lua scripts against docs/delivery.md: each guard, each answer, the schedules.

Runs on a Redis of its own; the scripts are put together as the program does it.
After every test the books must balance: accepted = the sum of all states.
"""

import json
import pathlib
import socket
import subprocess
import time
import uuid

import pytest
import redis

LUA = pathlib.Path(__file__).resolve().parents[2] / "common" / "store" / "lua"
KIND = "hash"
DAY = 86_400_000
LEASE = 15_000


def script_text(name):
    text = (LUA / f"{name}.lua").read_text()
    if name == "boot":
        return text
    shebang, rest = text.split("\n", 1)
    return shebang + "\n" + (LUA / "lib.lua").read_text() + rest


def decoded(reply):
    if isinstance(reply, bytes):
        return reply.decode(errors="surrogateescape")
    if isinstance(reply, list):
        return [decoded(part) for part in reply]
    return reply


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = tmp_path_factory.mktemp("redis")
    process = subprocess.Popen(
        ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)],
        stdout=subprocess.DEVNULL,
    )
    client = redis.Redis(port=port)
    end = time.monotonic() + 10
    while True:
        try:
            client.ping()
            break
        except redis.ConnectionError:
            assert time.monotonic() < end, "redis-server does not come up"
            time.sleep(0.01)
    yield client
    process.terminate()
    process.wait()


class Job:
    """What its message says."""

    def __init__(self, store, idem="", digest="", deadline=0, attempt=0):
        self.id = str(uuid.uuid4())
        self.epoch = store.epoch
        self.copy = uuid.uuid4().hex
        self.created = store.now()
        self.idem, self.digest, self.deadline, self.attempt = idem, digest, deadline, attempt

    def born(self, losses_max=2, **more):
        return json.dumps({"kind": KIND, "created": self.created, "deadline": self.deadline, "idem": self.idem,
                           "digest": self.digest, "max": 3, "attempt": self.attempt, "losses_max": losses_max,
                           "retention": DAY, **more})


class Lease:
    def __init__(self, job, owner, copy, answer, epoch):
        self.job, self.owner, self.copy, self.epoch = job, owner, copy, epoch
        word, self.fence, self.attempt, self.errors, self.started = answer
        assert word == "run"

    def born(self):
        return self.job.born(attempt=self.attempt, errors=self.errors, started=self.started, owner=self.owner,
                             copy=self.copy)


class Store:
    """The scripts as functions."""

    def __init__(self, client):
        self.r = client
        self.shas = {path.stem: client.script_load(script_text(path.stem))
                     for path in LUA.glob("*.lua") if path.stem != "lib"}
        self.run_id = "first-run"
        self.boot()

    def boot(self):
        self.epoch = self.r.evalsha(self.shas["boot"], 0, self.run_id).decode()
        return self.epoch

    def new_epoch(self):
        """As after a restart that lost nothing."""
        self.run_id = uuid.uuid4().hex
        old = self.epoch
        assert int(self.boot()) > int(old)

    def lose_all(self):
        self.r.flushall()
        self.new_epoch()

    def call(self, name, *arguments, epoch=None):
        return decoded(self.r.evalsha(self.shas[name], 0, epoch or self.epoch, *arguments))

    def now(self):
        seconds, micros = self.r.time()
        return seconds * 1000 + micros // 1000

    def create(self, job):
        idem = (job.idem, job.digest) if job.idem else ()
        return self.call("create", job.id, KIND, job.created, job.deadline, 3, *idem)

    def accept(self, job):
        return self.call("accept", job.id, job.epoch)

    def claim(self, job, owner="w1", copy=None, second=0, lease=LEASE, packed=None, **born):
        return self.call("claim", job.id, job.copy if copy is None else copy, owner, job.epoch, 7, lease, second,
                         job.born(**born), *([packed] if packed else []))

    def leased(self, job, owner="w1", copy=None, **more):
        answer = self.claim(job, owner, copy, **more)
        return Lease(job, owner, job.copy if copy is None else copy, answer, self.epoch)

    def of_owner(self, name, lease, *arguments):
        return self.call(name, lease.job.id, lease.fence, lease.epoch, lease.born(), *arguments)

    def renew(self, lease, progress=0.5, away=0, lease_ms=LEASE):
        return self.of_owner("renew", lease, lease_ms, progress, away)

    def finish(self, lease, result=b"r" * 64, with_pull=1):
        return self.of_owner("finish", lease, DAY, "application/octet-stream", with_pull, result)

    def fail(self, lease, why="transient", wait=1000, packed=b"packed", losses_max=2):
        return self.of_owner("fail", lease, DAY, why, "io", "it broke", wait, losses_max, packed)

    def drain(self, lease):
        return self.of_owner("drain", lease)

    def outbox(self, job, packed=b"packed", bound=1 << 20):
        return self.call("outbox", job.id, job.epoch, job.born(), bound, packed)

    def cancel(self, job, *replay):
        return self.call("cancel", job.id, DAY, *replay)

    def pull(self, top=10, idem=""):
        word, *rest = self.call("pull", KIND, top, idem)
        assert word == "ok"
        return dict(zip(rest[::2], rest[1::2]))

    def stats(self):
        return json.loads(self.call("stats")[1])

    def record(self, job):
        return {k.decode(): v.decode() for k, v in self.r.hgetall(f"job:{job.id}").items()}

    def state(self, job):
        return self.record(job).get("state")

    def ttl(self, key):
        return self.r.pttl(key)

    def audit(self):
        """The books balance, and every record stands where the index says."""
        jobs = self.stats()["jobs"]
        assert jobs["accepted"] == sum(n for state, n in jobs.items() if state != "accepted"), jobs
        found = {}
        for key in self.r.scan_iter("job:*"):
            state = self.r.hget(key, "state")
            if state in (b"pending", b"in-progress", b"retrying"):
                found.setdefault(state.decode(), set()).add(key[4:].decode())
                assert self.r.pttl(key) == -1, "a counted record must not expire"
            else:
                assert self.r.pttl(key) > 0, "an uncounted or ended record must expire"
        for place, state in enumerate(("pending", "in-progress", "retrying")):
            index = self.r.zrangebyscore(f"ix:{KIND}", place * 10**13, f"({(place + 1) * 10**13}")
            assert {i.decode() for i in index} == found.get(state, set()), state


@pytest.fixture
def store(server):
    server.flushall()
    store = Store(server)
    yield store
    store.audit()


@pytest.fixture
def pending(store):
    return make_pending(store)


def make_pending(store, **more):
    job = Job(store, **more)
    assert store.create(job) == "ok"
    assert store.accept(job) == "ok"
    return job


def expire_lease(store, job):
    store.r.hset(f"job:{job.id}", "lease", store.now() - 1)


# ---- epoch -------------------------------------------------------------------

def test_boot_keeps_the_epoch_of_the_same_process_and_raises_it_for_another(store):
    first = store.epoch
    assert store.boot() == first
    store.run_id = "second-run"
    assert int(store.boot()) > int(first)


def test_boot_never_goes_back_when_the_clock_does(store):
    store.r.set("epoch", "8999999999999999")
    store.run_id = "second-run"
    assert store.boot() == "9000000000000000"


@pytest.mark.parametrize("name", sorted(p.stem for p in LUA.glob("*.lua") if p.stem not in ("lib", "boot")))
def test_every_script_refuses_another_epoch_and_one_without_meta(store, name):
    assert store.call(name, *["1"] * 12, epoch="1") == "epoch"
    epoch = store.epoch
    store.r.flushall()
    assert store.call(name, *["1"] * 12, epoch=epoch) == "epoch"
    store.boot()


# ---- create, accept ------------------------------------------------------------

def test_created_record_is_uncounted_and_short_lived(store):
    job = Job(store)
    assert store.create(job) == "ok"
    assert store.state(job) == "unconfirmed"
    assert 0 < store.ttl(f"job:{job.id}") <= 60_000
    assert store.stats()["jobs"]["accepted"] == 0
    assert store.call("get", job.id, 1, 0) == "gone"
    assert store.create(job) == "ok"


def test_accept_counts_once_and_lifts_the_time_limit(store):
    job = make_pending(store, idem="key", digest="d")
    assert store.state(job) == "pending"
    assert store.ttl(f"job:{job.id}") == store.ttl("idem:key") == -1
    assert store.accept(job) == "ok"
    assert store.stats()["jobs"] == {"accepted": 1, "pending": 1, "in-progress": 0, "retrying": 0, "completed": 0,
                                     "failed": 0, "cancelled": 0}


def test_accept_never_creates(store):
    job = Job(store)
    assert store.accept(job) == "gone"
    job.epoch = "1"
    assert store.accept(job) == "ok"
    assert store.state(job) is None


def test_accept_after_a_fast_worker_changes_nothing(store):
    job = Job(store)
    store.create(job)
    lease = store.leased(job)
    assert store.accept(job) == "ok"
    assert store.finish(lease) == "ok"
    assert store.accept(job) == "ok"
    assert store.state(job) == "completed"
    assert 0 < store.ttl(f"job:{job.id}") <= DAY


def test_idempotency_key_leads_to_the_first_job(store):
    first = Job(store, idem="key", digest="d")
    store.create(first)
    again = Job(store, idem="key", digest="d")
    assert store.create(again) == ["exists", first.id, KIND, "unconfirmed"]
    store.accept(first)
    assert store.create(again) == ["exists", first.id, KIND, "pending"]
    assert store.create(Job(store, idem="key", digest="other")) == "mismatch"
    assert store.create(first) == "ok"


def test_idempotency_key_of_a_vanished_record_is_free(store):
    first = Job(store, idem="key", digest="d")
    store.create(first)
    store.r.delete(f"job:{first.id}")
    again = Job(store, idem="key", digest="d")
    assert store.create(again) == "ok"
    assert store.r.get("idem:key").decode() == again.id


def test_idempotency_key_ends_with_the_record(store):
    job = make_pending(store, idem="key", digest="d")
    store.finish(store.leased(job))
    assert 0 < store.ttl("idem:key") <= DAY


# ---- claim ------------------------------------------------------------------------

def test_claim_runs_a_pending_job(store, pending):
    lease = store.leased(pending)
    record = store.record(pending)
    assert record["state"] == "in-progress" and record["owner"] == "w1" and record["copy"] == pending.copy
    assert lease.attempt == 1 and int(record["fence"]) == lease.fence
    assert store.now() < int(record["lease"]) <= store.now() + LEASE


def test_claim_counts_an_unconfirmed_job(store):
    job = Job(store, idem="key", digest="d")
    store.create(job)
    store.leased(job)
    assert store.ttl(f"job:{job.id}") == store.ttl("idem:key") == -1
    assert store.stats()["jobs"]["accepted"] == 1


def test_claim_of_a_missing_record_depends_on_the_epoch_of_the_message(store):
    job = Job(store, idem="key", digest="d", attempt=2)
    assert store.claim(job) == "gone"
    job.epoch = "0"
    assert store.leased(job).attempt == 3
    assert store.r.get("idem:key").decode() == job.id
    assert store.stats()["jobs"]["accepted"] == 1


def test_claim_repeated_by_its_owner_gets_the_same_fence(store, pending):
    lease = store.leased(pending)
    assert store.claim(pending) == ["mine", lease.fence]
    assert store.record(pending).get("losses") is None


def test_the_same_copy_at_another_owner_is_asked_twice(store, pending):
    first = store.leased(pending)
    assert store.claim(pending, "w2") == "ask"
    second = store.leased(pending, "w2", second=1)
    assert second.fence > first.fence and second.attempt == 2
    assert store.record(pending)["losses"] == "1"
    assert store.finish(first) == "stale"
    assert store.finish(second) == "ok"


def test_another_copy_is_held_until_the_lease_is_over(store, pending):
    store.leased(pending)
    word, wait = store.claim(pending, "w2", copy="other")
    assert word == "held" and 0 < wait <= LEASE
    assert store.claim(pending, "w2", copy="other", second=1)[0] == "held"
    expire_lease(store, pending)
    store.leased(pending, "w2", copy="other")
    assert store.record(pending)["losses"] == "1"


def test_the_copy_of_a_detached_owner_is_held(store, pending):
    lease = store.leased(pending)
    assert store.renew(lease, away=1) == "ok"
    assert store.claim(pending, "w2", second=1)[0] == "held"
    assert store.claim(pending, "w1") == ["mine", lease.fence]
    assert store.renew(lease, away=0) == "ok"
    assert store.claim(pending, "w2") == "ask"


def test_a_message_without_a_copy_id_never_steals_a_live_lease(store, pending):
    store.leased(pending, copy="")
    assert store.claim(pending, "w2", copy="", second=1)[0] == "held"


def test_a_job_lost_too_often_fails_and_keeps_its_input(store, pending):
    for loss in range(3):
        store.leased(pending, f"w{loss}")
        expire_lease(store, pending)
    assert store.claim(pending, "w9") == "pack"
    assert store.state(pending) == "in-progress"
    assert store.claim(pending, "w9", packed=b"the message") == "terminal"
    record = store.record(pending)
    assert (record["state"], record["code"], record["losses"]) == ("failed", "lost", "3")
    assert store.r.get(f"in:{pending.id}") == b"the message"
    assert 0 < store.ttl(f"in:{pending.id}") <= DAY


def test_the_owner_of_a_job_that_failed_as_lost_is_stale(store, pending):
    lease = store.leased(pending)
    expire_lease(store, pending)
    assert store.claim(pending, "w2", packed=b"m", losses_max=0) == "terminal"
    assert store.finish(lease) == "stale"
    assert store.fail(lease) == "stale"


def test_claim_of_an_ended_job_is_terminal(store):
    for end in ("completed", "failed", "cancelled"):
        job = make_pending(store)
        lease = store.leased(job)
        {"completed": lambda: store.finish(lease), "failed": lambda: store.fail(lease, "permanent"),
         "cancelled": lambda: store.cancel(job)}[end]()
        assert store.state(job) == end
        assert store.claim(job, "w2") == "terminal"


def test_a_job_past_its_deadline_fails_at_claim(store):
    for prepare in (store.create, lambda job: (store.create(job), store.accept(job))):
        job = Job(store, deadline=store.now() - 1)
        prepare(job)
        assert store.claim(job) == "terminal"
        assert store.record(job)["code"] == "expired"
    job = make_pending(store, deadline=store.now() + 3_600_000)
    store.fail(store.leased(job), wait=0)
    store.r.hset(f"job:{job.id}", "deadline", store.now() - 1)
    assert store.claim(job) == "terminal"
    assert not store.r.exists(f"in:{job.id}")


def test_retrying_is_not_claimed_before_it_is_due(store, pending):
    store.fail(store.leased(pending), wait=60_000)
    word, wait = store.claim(pending, copy="c2")
    assert word == "later" and 59_000 < wait <= 60_000
    store.r.hset(f"job:{pending.id}", "next", store.now())
    lease = store.leased(pending, copy="c2")
    assert (lease.attempt, lease.errors) == (2, 1)
    assert not store.r.exists(f"in:{pending.id}")


# ---- renew, finish, fail, drain -------------------------------------------------------

def test_renew_moves_lease_and_progress(store, pending):
    lease = store.leased(pending, lease=1000)
    assert store.renew(lease, progress=0.25) == "ok"
    record = store.record(pending)
    assert record["progress"] == "0.25" and int(record["lease"]) > store.now() + 10_000


@pytest.mark.parametrize("name", ["renew", "finish", "fail", "drain"])
def test_another_fence_is_stale(store, pending, name):
    old = store.leased(pending)
    expire_lease(store, pending)
    store.leased(pending, "w2")
    assert getattr(store, name)(old) == "stale"
    assert store.record(pending)["owner"] == "w2"


@pytest.mark.parametrize("name", ["renew", "finish", "fail", "drain"])
def test_a_cancelled_job_says_so_to_its_owner(store, pending, name):
    lease = store.leased(pending)
    assert store.cancel(pending)[0] == "ok"
    assert getattr(store, name)(lease) == "cancelled"


@pytest.mark.parametrize("name", ["renew", "finish", "fail", "drain"])
def test_a_missing_record_of_the_same_epoch_is_gone(store, pending, name):
    lease = store.leased(pending)
    store.finish(lease)
    store.r.delete(f"job:{pending.id}")
    store.r.delete(f"done:{KIND}")
    assert getattr(store, name)(lease) == "gone"


@pytest.mark.parametrize("size", [0, 64, 65])
def test_finish_keeps_the_result_as_long_as_the_record(store, pending, size):
    assert store.finish(store.leased(pending), b"x" * size) == "ok"
    record = store.record(pending)
    assert (record["state"], record["bytes"], record["type"]) == ("completed", str(size), "application/octet-stream")
    assert store.call("get", pending.id, 0, 1)[2] == "x" * size
    assert 0 < store.ttl(f"job:{pending.id}") <= DAY
    assert size <= 64 or 0 < store.ttl(f"out:{pending.id}") <= DAY
    assert store.pull() == {pending.id: "x" * size}


def test_a_tiny_record_stays_compact_to_its_end(store, pending):
    store.finish(store.leased(pending), b"x" * 64)
    assert store.r.object("encoding", f"job:{pending.id}") == b"listpack"


def test_settles_repeat_their_first_answer(store):
    a, b, c, d = (make_pending(store) for _ in range(4))
    finished, failed, retried, drained = (store.leased(job) for job in (a, b, c, d))
    for _ in range(2):
        assert store.finish(finished) == "ok"
        assert store.fail(failed, "permanent") == "failed"
        assert store.fail(retried) == "retrying"
        assert store.drain(drained) == "ok"
    assert store.record(c)["errors"] == "1"
    assert store.record(d)["attempt"] == "0"
    assert list(store.pull()) == [a.id]


def test_permanent_error_fails_at_once_and_keeps_the_input(store, pending):
    assert store.fail(store.leased(pending), "permanent") == "failed"
    record = store.record(pending)
    assert (record["code"], record["detail"], record["input"]) == ("io", "it broke", "1")
    assert 0 < store.ttl(f"in:{pending.id}") <= DAY


def test_transient_errors_use_up_the_attempts(store, pending):
    for expected in ("retrying", "retrying", "failed"):
        assert store.fail(store.leased(pending), wait=0) == expected
        assert store.ttl(f"in:{pending.id}") == (-1 if expected == "retrying" else pytest.approx(DAY, abs=5000))
    assert store.record(pending)["errors"] == "3"


def test_losses_have_a_budget_of_their_own(store, pending):
    for expected in ("retrying", "retrying", "failed"):
        assert store.fail(store.leased(pending), "loss", wait=0) == expected
    record = store.record(pending)
    assert (record["errors"], record["losses"], record["code"]) == ("0", "3", "lost")
    assert record["detail"] == "it broke"


def test_drain_spends_no_attempt_and_does_not_free_the_fence(store, pending):
    first = store.leased(pending)
    assert store.drain(first) == "ok"
    record = store.record(pending)
    assert record["state"] == "pending" and "owner" not in record and record["fence"] == str(first.fence)
    second = store.leased(pending, "w2")
    assert second.attempt == 1 and second.fence > first.fence
    assert store.finish(first) == "stale"
    assert store.finish(second) == "ok"


# ---- cancel, retry -----------------------------------------------------------------------

@pytest.mark.parametrize("state", ["pending", "in-progress", "retrying"])
def test_cancel_ends_what_has_not_ended(store, pending, state):
    if state != "pending":
        lease = store.leased(pending)
    if state == "retrying":
        store.fail(lease)
    assert store.cancel(pending)[0] == "ok"
    assert store.state(pending) == "cancelled"
    assert not store.r.exists(f"in:{pending.id}")
    assert store.cancel(pending)[0] == "refused"


def test_cancel_of_what_nobody_was_promised_is_gone(store):
    job = Job(store)
    assert store.cancel(job) == "gone"
    store.create(job)
    assert store.cancel(job) == "gone"


def test_retry_puts_record_and_message_back_in_one_step(store, pending):
    store.fail(store.leased(pending), "permanent", packed=b"the message")
    assert store.call("retry", pending.id)[0] == "ok"
    record = store.record(pending)
    assert (record["state"], record["errors"], record["input"]) == ("pending", "0", "0")
    assert store.ttl(f"job:{pending.id}") == store.ttl(f"ob:{pending.id}") == -1
    assert store.r.get("outbox:bytes") == b"11" and not store.r.exists(f"in:{pending.id}")
    word, _, *items = store.call("outbox_take", 10)
    assert (word, items) == ("ok", [pending.id, "the message"])
    store.finish(store.leased(pending, copy="c2"))


def test_retry_refuses_other_states_and_missing_inputs(store, pending):
    assert store.call("retry", pending.id)[0] == "refused"
    store.fail(store.leased(pending), "permanent")
    store.r.delete(f"in:{pending.id}")
    assert store.call("retry", pending.id) == "no-input"
    assert store.call("retry", str(uuid.uuid4())) == "gone"


# ---- outbox --------------------------------------------------------------------------------

def test_outbox_accepts_and_keeps_the_message_once(store):
    job = Job(store)
    assert store.outbox(job) == "gone"
    store.create(job)
    assert store.outbox(job) == store.outbox(job) == "ok"
    assert store.stats()["outbox"] == {"count": 1, "bytes": 6}
    assert store.stats()["jobs"]["pending"] == 1


def test_outbox_has_a_bound_in_bytes(store):
    a, b = Job(store), Job(store)
    store.create(a), store.create(b)
    assert store.outbox(a, bound=10) == "ok"
    assert store.outbox(b, bound=10) == "full"
    assert store.state(b) == "unconfirmed"


def test_outbox_keeps_nothing_for_a_job_that_a_worker_has(store):
    job = Job(store)
    store.create(job)
    store.leased(job)
    assert store.outbox(job) == "ok"
    assert store.stats()["outbox"] == {"count": 0, "bytes": 0}


def test_a_taken_entry_is_reserved_and_forgotten_when_done(store):
    job = Job(store)
    store.create(job)
    store.outbox(job)
    _, until, *items = store.call("outbox_take", 10)
    assert items == [job.id, "packed"]
    assert len(store.call("outbox_take", 10)) == 2
    assert store.call("outbox_done", job.id, until) == "ok"
    assert store.stats()["outbox"] == {"count": 0, "bytes": 0}
    assert not store.r.exists(f"ob:{job.id}", "outbox:bytes")


def test_done_does_not_drop_an_entry_that_came_after_its_take(store):
    job = Job(store)
    store.create(job)
    store.outbox(job)
    _, until, *_ = store.call("outbox_take", 10)
    store.fail(store.leased(job), "permanent", packed=b"second")
    store.call("retry", job.id)
    assert store.call("outbox_done", job.id, until) == "ok"
    assert store.r.get(f"ob:{job.id}") == b"second"
    assert store.r.get("outbox:bytes") == b"6"


def test_entries_of_ended_jobs_are_dropped(store):
    a, b = Job(store), Job(store)
    for job in (a, b):
        store.create(job)
        store.outbox(job)
    store.cancel(a)
    store.cancel(b)
    store.r.delete(f"job:{b.id}")
    assert len(store.call("outbox_take", 10)) == 2
    assert store.stats()["outbox"] == {"count": 0, "bytes": 0}


def test_overdue_retrying_jobs_go_to_the_outbox_by_one_leader(store, pending):
    store.fail(store.leased(pending), packed=b"the message")
    store.r.zadd(f"ix:{KIND}", {pending.id: 2 * 10**13 + store.now() - 61_000})
    store.r.hset(f"job:{pending.id}", "next", store.now() - 61_000)
    store.r.set("leader", "gw1", px=5000)
    assert store.call("overdue", "gw2", DAY) == "ok"
    assert store.stats()["outbox"]["count"] == 0
    for _ in range(2):
        assert store.call("overdue", "gw1", DAY) == "ok"
        assert store.stats()["outbox"] == {"count": 1, "bytes": 11}
    _, until, *items = store.call("outbox_take", 10)
    assert items == [pending.id, "the message"]
    store.call("outbox_done", pending.id, until)
    store.call("overdue", "gw1", DAY)
    assert store.stats()["outbox"]["count"] == 0, "not again within the minute"
    store.leased(pending, copy="c2")


# ---- pull ------------------------------------------------------------------------------------

def finished(store, value):
    job = make_pending(store)
    store.finish(store.leased(job), value)
    return job


def test_pull_hands_each_job_out_once_newest_first(store):
    jobs = [finished(store, b"%d" % i) for i in range(5)]
    for i, job in enumerate(jobs):
        store.r.zadd(f"done:{KIND}", {job.id: 1000 + i})
    assert list(store.pull(2).values()) == ["4", "3"]
    assert list(store.pull(10).values()) == ["2", "1", "0"]
    assert store.pull() == {}
    assert store.call("get", jobs[0].id, 0, 1)[2] == "0"


def test_pull_skips_results_that_have_expired(store):
    jobs = [finished(store, b"%d" % i) for i in range(5)]
    for i, job in enumerate(jobs):
        store.r.zadd(f"done:{KIND}", {job.id: 1000 + i})
    store.r.delete(f"job:{jobs[4].id}", f"job:{jobs[2].id}")
    assert list(store.pull(2).values()) == ["3", "1"]


def test_pull_with_a_key_repeats_its_batch(store):
    finished(store, b"a")
    first = store.pull(10, "key")
    later = finished(store, b"b")
    assert store.pull(10, "key") == first and len(first) == 1
    assert 0 < store.ttl(f"batch:{KIND}:key") <= 600_000
    assert list(store.pull(10, "other")) == [later.id]


def test_pull_is_capped(store):
    store.r.zadd(f"done:{KIND}", {str(i): i for i in range(1500)})
    store.r.mset({f"out:{i}": b"x" for i in range(1500)})
    assert len(store.pull(10**15)) == 1000
    assert len(store.pull(10**15)) == 500


# ---- get, stats, watch -------------------------------------------------------------------------

def test_watched_jobs_publish_their_end(store):
    heard = store.r.pubsub(ignore_subscribe_messages=True)
    heard.subscribe("millrace:ended")
    assert heard.get_message(timeout=5) is None
    ends = {"finish": lambda lease: store.finish(lease), "fail": lambda lease: store.fail(lease, "permanent"),
            "cancel": lambda lease: store.cancel(lease.job)}
    for end in ends.values():
        silent, watched = make_pending(store), make_pending(store)
        assert store.call("get", watched.id, 1, 0)[0] == "ok"
        end(store.leased(silent))
        end(store.leased(watched))
        assert heard.get_message(timeout=5)["data"].decode() == watched.id
    assert store.call("get", watched.id, 1, 1)[0] == "ok"
    heard.close()


def test_stats_are_one_consistent_text(store, pending):
    store.finish(store.leased(make_pending(store)))
    store.fail(store.leased(make_pending(store)))
    store.leased(make_pending(store))
    store.cancel(make_pending(store))
    store.fail(store.leased(make_pending(store)), "permanent")
    store.call("beat", "w1", '{"id":"w1"}', '[["wait:hash","0.5",2],["wait:hash","sum",0.75]]')
    store.call("beat", "w1", '{"id":"w1"}', '[["wait:hash","0.5",1]]')
    stats = store.stats()
    states = {"accepted": 6, "pending": 1, "in-progress": 1, "retrying": 1, "completed": 1, "failed": 1,
              "cancelled": 1}
    assert stats["epoch"] == int(store.epoch)
    assert stats["jobs"] == states
    oldest = stats["kinds"][KIND].pop("oldest_ms")
    assert 0 <= oldest < 60_000 and stats["kinds"] == {KIND: states}
    assert stats["workers"] == [{"id": "w1"}]
    assert stats["histograms"] == {"wait:hash": {"0.5": 3, "sum": 0.75}}
    store.call("leave", "w1")
    assert store.stats()["workers"] == []


# ---- the schedules of docs/delivery.md that concern the store ------------------------------------

def test_schedule_2_two_claims_around_a_loss_have_different_fences(store, pending):
    first = store.leased(pending)
    store.lose_all()
    second = store.leased(pending, "w2", copy="other")
    assert first.fence != second.fence
    assert store.finish(first) == "stale"


@pytest.mark.parametrize("name, state", [("finish", "completed"), ("fail", "retrying"), ("drain", "pending"),
                                         ("renew", "in-progress")])
def test_schedule_3_a_call_of_an_older_epoch_makes_the_record_again(store, name, state):
    job = make_pending(store, idem="key", digest="d")
    lease = store.leased(job)
    store.lose_all()
    assert getattr(store, name)(lease) in ("ok", "retrying")
    record = store.record(job)
    assert record["state"] == state and record["kind"] == KIND and record["idem"] == "key"
    assert store.r.get("idem:key").decode() == job.id
    assert store.stats()["jobs"]["accepted"] == 1
    if name == "renew":
        assert record["owner"] == "w1" and store.finish(lease) == "ok"


@pytest.mark.parametrize("state", ["unconfirmed", "pending", "retrying", "in-progress"])
def test_schedule_3_a_record_rolled_back_to_before_the_claim_takes_the_settle(store, state):
    job = Job(store)
    store.create(job)
    if state in ("pending", "retrying", "in-progress"):
        store.accept(job)
    if state in ("retrying", "in-progress"):
        before = store.leased(job, "w0")
    if state == "retrying":
        store.fail(before, wait=0)
    rolled_back = store.r.dump(f"job:{job.id}"), store.r.dump(f"ix:{KIND}"), store.r.dump("count")
    lease = store.leased(job, "w1", second=1)
    for key, dump in zip((f"job:{job.id}", f"ix:{KIND}", "count"), rolled_back):
        store.r.delete(key)
        if dump:
            store.r.restore(key, 60_000 if state == "unconfirmed" and key[:3] == "job" else 0, dump)
    assert store.finish(lease) == "stale", "same epoch: another holds it"
    store.new_epoch()
    assert store.finish(lease) == "ok"
    assert store.state(job) == "completed" and list(store.pull()) == [job.id]


def test_schedule_3_a_newer_owner_keeps_its_claim_after_a_restart(store, pending):
    old = store.leased(pending)
    expire_lease(store, pending)
    store.leased(pending, "w2")
    store.new_epoch()
    for name in ("finish", "fail", "drain", "renew"):
        assert getattr(store, name)(old) == "stale"


def test_schedule_4_replayed_settles_bring_the_ends_back(store):
    a, b = make_pending(store), make_pending(store)
    finished_lease, failed_lease = store.leased(a), store.leased(b)
    store.finish(finished_lease)
    store.fail(failed_lease, "permanent")
    store.lose_all()
    assert store.finish(finished_lease) == "ok"
    assert store.fail(failed_lease, "permanent") == "failed"
    assert store.claim(a, "w2") == store.claim(b, "w2") == "terminal"


def test_schedule_5_an_ended_and_expired_job_is_not_run_again(store, pending):
    store.cancel(pending)
    store.r.delete(f"job:{pending.id}")
    assert store.claim(pending, "w2", copy="other") == "gone"


def test_schedule_5_a_replayed_cancel_stops_the_message_of_a_lost_record(store, pending):
    epoch = store.epoch
    store.cancel(pending)
    store.lose_all()
    assert store.cancel(pending, epoch, KIND)[0] == "ok"
    assert store.claim(pending) == "terminal"
    assert store.state(pending) == "cancelled"


def test_schedule_13_a_replayed_retry_names_its_failure(store, pending):
    store.fail(store.leased(pending), "permanent")
    fence = store.record(pending)["fence"]
    assert store.call("retry", pending.id)[0] == "ok"
    store.fail(store.leased(pending, copy="c2"), "permanent")
    assert store.call("retry", pending.id, fence)[0] == "refused"
    assert store.call("retry", pending.id, store.record(pending)["fence"])[0] == "ok"


def test_schedule_16_repeated_fail_does_not_count_twice_after_a_restart(store, pending):
    lease = store.leased(pending)
    store.fail(lease, wait=60_000)
    store.new_epoch()
    assert store.fail(lease, wait=60_000) == "retrying"
    assert store.record(pending)["errors"] == "1"


def test_schedule_17_a_full_redis_takes_no_work_but_ends_what_it_has(store):
    unclaimed, running, failing, done = (make_pending(store) for _ in range(4))
    accepted_late, new = Job(store), Job(store)
    store.create(accepted_late)
    lease, fail_lease = store.leased(running), store.leased(failing)
    store.finish(store.leased(done))
    store.r.config_set("maxmemory", 1)
    try:
        for refused in (lambda: store.create(new), lambda: store.outbox(accepted_late),
                        lambda: store.call("retry", new.id)):
            with pytest.raises(redis.ResponseError, match="OOM"):
                refused()
        assert store.accept(accepted_late) == "ok"
        assert store.renew(lease) == "ok"
        assert store.finish(lease) == "ok"
        assert store.fail(fail_lease, "permanent") == "failed"
        assert store.drain(store.leased(unclaimed)) == "ok"
        assert store.cancel(unclaimed)[0] == "ok"
        assert len(store.pull()) == 2
        store.run_id = "while-full"
        store.boot()
    finally:
        store.r.config_set("maxmemory", 0)


def test_schedule_18_a_replayed_outbox_brings_job_and_message_back(store):
    job = Job(store)
    store.create(job)
    store.outbox(job)
    store.lose_all()
    assert store.outbox(job) == store.outbox(job) == "ok"
    assert store.state(job) == "pending"
    assert store.stats()["outbox"] == {"count": 1, "bytes": 6}


@pytest.mark.parametrize("mark_first", [True, False])
def test_schedule_20_a_replayed_pull_stops_a_second_hand_out(store, pending, mark_first):
    lease = store.leased(pending)
    store.finish(lease)
    assert list(store.pull()) == [pending.id]
    store.lose_all()
    replays = [lambda: store.call("pulled", KIND, DAY, pending.id), lambda: store.finish(lease)]
    for replay in replays if mark_first else reversed(replays):
        assert replay() == "ok"
    assert store.pull() == {}
    assert store.state(pending) == "completed"


def test_schedule_21_counters_restart_with_what_is_known(store):
    jobs = [make_pending(store) for _ in range(3)]
    store.lose_all()
    for job in jobs:
        store.finish(store.leased(job))
    assert store.stats()["jobs"]["accepted"] == store.stats()["jobs"]["completed"] == 3
