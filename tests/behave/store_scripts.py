# SPDX-License-Identifier: Apache-2.0
"""The store's Lua scripts as Python functions, on a Redis of their own.

The scripts are put together as the program does it (common/store/embed.cmake).
After every test the books must balance: accepted = the sum of all states. A
test file imports the fixtures server, store, pending and group from here.
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
KEPT_MAX = 1 << 20
LIVE = ("pending", "in-progress", "retrying")
STATES = LIVE + ("completed", "failed", "cancelled")
PRELUDES = ("lib", "rare", "group", "set")
CHECK = '{"method":"freivalds","probes":2,"bound":%s}'


def script_text(name):
    text = (LUA / f"{name}.lua").read_text()
    if name == "boot":
        return text
    shebang, rest = text.split("\n", 1)
    return shebang + "\n" + "".join((LUA / f"{name}.lua").read_text() for name in PRELUDES) + rest


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

    def __init__(self, store, idem="", digest="", deadline=0, attempt=0, refs=None, parent=None, member=0, id=None,
                 group=None):
        self.id = id or str(uuid.uuid4())
        self.epoch = store.epoch
        self.copy = uuid.uuid4().hex
        self.created = store.now()
        self.idem, self.digest, self.deadline, self.attempt = idem, digest, deadline, attempt
        self.refs, self.parent, self.member, self.group = refs, parent, member, group

    def born(self, losses_max=2, **more):
        if self.refs is not None:
            more["refs"] = self.refs
        if self.parent is not None:
            more.update(parent=self.parent, member=self.member)
        if self.group is not None:
            more["group"] = self.group
        return json.dumps({"kind": KIND, "created": self.created, "deadline": self.deadline, "idem": self.idem,
                           "digest": self.digest, "max": 3, "attempt": self.attempt, "losses_max": losses_max,
                           "retention": DAY, "kept_max": KEPT_MAX, **more})


class Lease:
    def __init__(self, job, owner, copy, answer, epoch, kind="run"):
        self.job, self.owner, self.copy, self.epoch = job, owner, copy, epoch
        word, self.fence, self.attempt, self.errors, self.started = answer[:5]
        assert word == kind

    def born(self):
        return self.job.born(attempt=self.attempt, errors=self.errors, started=self.started, owner=self.owner,
                             copy=self.copy)


class Store:
    """The scripts as functions."""

    def __init__(self, client):
        self.r = client
        self.shas = {path.stem: client.script_load(script_text(path.stem))
                     for path in LUA.glob("*.lua") if path.stem not in PRELUDES}
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

    def snapshot(self):
        """What stands on the disk."""
        return {key: (max(0, self.r.pttl(key)), self.r.dump(key)) for key in self.r.scan_iter()}

    def roll_back(self, snapshot):
        """Forgets all that came later; a restart is a new epoch as well."""
        self.r.flushall()
        for key, (ttl, dump) in snapshot.items():
            self.r.restore(key, ttl, dump)

    def call(self, name, *arguments, epoch=None):
        return decoded(self.r.evalsha(self.shas[name], 0, epoch or self.epoch, *arguments))

    def now(self):
        seconds, micros = self.r.time()
        return seconds * 1000 + micros // 1000

    def create(self, job):
        more = (job.idem, job.digest) if job.idem or job.refs is not None or job.group else ()
        if job.refs is not None or job.group:
            more += (job.refs or "",)
        if job.group:
            more += (job.group,)
        return self.call("create", job.id, KIND, job.created, job.deadline, 3, *more)

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
        return self.of_owner("renew", lease, lease_ms, progress, away, DAY)

    def finish(self, lease, result=b"r" * 64, with_pull=1, verified="", blob="", size="", replay=()):
        return self.of_owner("finish", lease, DAY, "application/octet-stream", with_pull, result, verified,
                             blob, size, *replay)

    def fail(self, lease, why="transient", wait=1000, packed=b"packed", losses_max=2, code="io", detail="it broke",
             replay=(), kept_max=KEPT_MAX):
        return self.of_owner("fail", lease, DAY, why, code, detail, wait, losses_max, kept_max, packed, *replay)

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

    def kept(self):
        """Bytes of the inputs of failed jobs: what the store counts."""
        return int(self.r.get("kept:bytes") or 0)

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
        inputs = {key[3:].decode(): self.r.strlen(key) for key in self.r.scan_iter("in:*") if self.r.pttl(key) > 0}
        entries = dict(entry.decode().split("|") for entry in self.r.zrange("kept", 0, -1))
        assert self.kept() == sum(map(int, entries.values())), "the sum is that of its entries"
        assert inputs == {job: int(entries.get(job, -1)) for job in inputs}, "each kept input is counted"
        for place, state in enumerate(("pending", "in-progress", "retrying")):
            index = self.r.zrangebyscore(f"ix:{KIND}", place * 10**13, f"({(place + 1) * 10**13}")
            assert {i.decode() for i in index} == found.get(state, set()), state
        names = {job.decode() for job in self.r.zrange("jobs", 0, -1)}
        assert {job for jobs in found.values() for job in jobs} <= names, "each counted job is listed"
        self.audit_ties({job for jobs in found.values() for job in jobs})
        self.audit_sets(found)

    def audit_ties(self, live):
        """What groups and blobs leave behind ends with their jobs."""
        for key in self.r.scan_iter("blob:*"):
            needing = {job.decode() for job, till in self.r.zrange(key, 0, -1, withscores=True) if till == float("inf")}
            assert needing <= live, "a blob is needed without end by live jobs alone"
            assert (self.r.pttl(key) == -1) == bool(needing)
        for key in [*self.r.scan_iter("group:*"), *self.r.scan_iter("sealed:*"), *self.r.scan_iter("open:*")]:
            assert self.r.pttl(key) > 0 or key.decode().split(":")[1] in live, key

    def audit_sets(self, found):
        """Each set has its live members by state, counts the others, and lasts while there are any."""
        sets = {key.decode()[4:] for key in self.r.scan_iter("set:*")}
        assert {key.decode().split(":")[1] for key in self.r.scan_iter("set-*")} <= sets
        for name in sets:
            view = self.view(name)
            assert view["accepted"] == sum(view[state] for state in STATES), view
            live = {job.decode() for job in self.r.zrange(f"set-live:{name}", 0, -1)}
            for state in LIVE:
                here = {job for job in found.get(state, ()) if self.r.hget(f"job:{job}", "group") == name.encode()}
                assert here <= live and len(here) == view[state], state
            for key in ("set:", "set-ends:"):
                assert not self.r.exists(key + name) or (self.r.pttl(key + name) == -1) == bool(live), key

    # -- sets

    def make_set(self, name="", id=None):
        id = id or new_set_id(self)
        assert self.call("set_make", id, name, DAY)[0] == "ok"
        return id

    @staticmethod
    def _view(answer):
        return dict(zip(("state", "name", "created", "accepted", *STATES, "ends"),
                        [*answer[1:3], *map(int, answer[3:])])) if answer[0] == "ok" else answer

    def view(self, name, watch=0):
        return self._view(self.call("set_get", name, DAY, watch))

    def close_set(self, name, count=0, *made):
        return self._view(self.call("set_close", name, DAY, count, *made))

    def ends(self, name, after=0, limit=100, watch=0):
        """State, next position, ids."""
        word, state, position, *rest = self.call("set_ends", name, DAY, after, limit, watch)
        assert word == "ok"
        return state, int(position), rest[::2]


def new_set_id(store):
    """A UUIDv7 of the server's time."""
    moment = f"{store.now():012x}"
    return f"{moment[:8]}-{moment[8:]}-7{uuid.uuid4().hex[:3]}-{str(uuid.uuid4())[19:]}"


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


class Group:
    """A parent and its members, as workers and the relay see them."""

    def __init__(self, store, total=3, **more):
        self.store, self.total = store, total
        self.parent = make_pending(store, **more)
        self.packed = b'{"id":"%s","params":"{}","body":4}\nbody' % self.parent.id.encode()

    def form(self):
        """What the members' messages have in common; a body and a name before the params look like the mark, too."""
        line = {"id": "", "kind": KIND, "content_type": "@MEMBER@", "parent": self.parent.id,
                "params": '{"tile":@MEMBER@}', "body": 8}
        if self.parent.refs:
            line["input"] = self.parent.refs
        return json.dumps(line, separators=(",", ":")) + "\n@MEMBER@"

    def visit(self, owner="w1"):
        """The parent's message has come back, under a new copy."""
        return self.store.leased(self.parent, owner, copy=uuid.uuid4().hex)

    def split(self, lease=None, sealed=(), total=None, layout="{}", kept_max=KEPT_MAX):
        pairs = [value for pair in sealed for value in pair]
        return self.store.of_owner("split", lease or self.visit(), DAY, kept_max, total or self.total, layout, 4000,
                                   "application/x-npy", self.packed, self.form(), *pairs)

    def relay(self):
        """Takes the members' messages out of the outbox: number -> job."""
        _, until, *items = self.store.call("outbox_take", 1000)
        members = {}
        for name, packed in zip(items[::2], items[1::2]):
            line = json.loads(packed.split("\n", 1)[0])
            assert line["id"] == name
            self.store.call("outbox_done", name, until)
            if line.get("parent") == self.parent.id:
                number = line.get("member", 0)
                members[number] = Job(self.store, id=name, parent=self.parent.id, member=number, refs=line.get("input"))
        return members

    def record(self):
        return self.store.record(self.parent)

    def state(self):
        return self.store.state(self.parent)

    def sealed(self):
        return {int(n): int(f) for n, f in self.store.r.hgetall(f"sealed:{self.parent.id}").items()}


@pytest.fixture
def group(store):
    return Group(store)


def finish_member(store, job, bound=0.5, check=None, **more):
    lease = store.leased(job, "w2", copy=uuid.uuid4().hex)
    name = f"{job.parent}-{job.member}-{lease.fence}"
    assert store.finish(lease, b"", 0, check or CHECK % bound, name, 100, **more) == "ok"
    return lease
