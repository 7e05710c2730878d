# SPDX-License-Identifier: Apache-2.0
"""One frozen state of a small fleet, and the moves that all actors share.

Everything is a tuple, so a World can be a key of the visited set. The broker
is a bag: a message may be delivered at any time after it was published, so
queue, ladder and any delay are one and the same. The ghost is an all-seeing
witness: it remembers what was promised and to whom, and no actor reads it.
"""

from typing import NamedTuple, Optional

import groups as store
from contract import TERMINAL, Redis, put

FAULTS = (
    'crash worker', 'crash gateway', 'lose channel', 'crash broker', 'lose confirm', 'refuse publish',
    'lose reply', 'roll back redis', 'flush redis', 'run lease over', 'expire record', 'expire unconfirmed',
    'lose ladder copy', 'cancel', 'retry', 'drain', 'pass deadline', 'transient error', 'permanent error',
    'lose executor',
)


class Message(NamedTuple):
    job: int
    copy: int = 0            # 0: not published yet
    epoch: int = 0


NOTHING = Message(-1)


class Worker(NamedTuple):
    """One worker process with one slot."""
    life: int = 0            # the owner's name, given at the first delivery; a restarted process has a new one
    ring: tuple = ()
    redo: tuple = ()         # what of the ring is still to be replayed
    step: str = 'idle'       # idle got asked defer computing settle publish ack leaving
    message: Message = NOTHING
    held: bool = False       # the delivery of message is unacked here
    epoch: int = 0           # of the last script that answered
    fence: int = 0
    claimed: int = 0         # epoch of the claim
    outcome: str = ''
    detach: str = ''         # lost: the delivery went, the store does not know; told: it does


class Request(NamedTuple):
    """A client's submit inside the gateway."""
    job: int
    step: str = 'new'        # new publish confirmed unsure, or over: told refused
    epoch: int = 0           # of the create


class Gateway(NamedTuple):
    requests: tuple[Request, ...]
    relay: tuple = ()        # (job, entry, still to publish?) on its way from the outbox
    half: int = -1           # a job between the halves of a retry that is not atomic
    ring: tuple = ()
    redo: tuple = ()


class Ghost(NamedTuple):
    accepted: tuple[bool, ...]      # counted, or the client was told 202
    ended: tuple[bool, ...]         # was terminal, and no person has retried it since
    cancelled: tuple[bool, ...]     # the client was told so
    results: tuple[frozenset, ...]  # fences of the results that were accepted
    dying: tuple[bool, ...]         # a writer died, and what it wrote may still be lost
    excused: tuple[bool, ...]       # writer and Redis were both lost: message_lost is allowed
    foul: str = ''                  # a step that must never be taken


class World(NamedTuple):
    redis: Redis
    snapshot: Optional[Redis]       # what a rollback would bring back
    broker: tuple[Message, ...]
    gateway: Gateway
    workers: tuple[Worker, ...]
    ghost: Ghost
    left: tuple[int, ...]           # the budget: FAULTS, then the total


class Scenario(NamedTuple):
    """A small fleet and what may befall it."""
    faults: dict[str, int]                # how often each
    limit: int                            # how many in one history
    requests: tuple[int, ...] = (0,)      # one client each: the job it submits; the same job = the same key
    workers: int = 2
    members: int = 0                      # > 0: no requests, but a group that was accepted, with so many
    window: int = 2                       # how many of them are let go at a time


def start_group(scenario: Scenario) -> World:
    """Its parent waits in the broker."""
    jobs = 1 + scenario.members * (1 + scenario.faults.get('retry', 0))
    world = start(scenario._replace(requests=(jobs - 1,), members=0))
    redis = store.move(store.empty(jobs), store.PARENT, store.Record('pending', True))
    redis = redis._replace(group=store.Group(scenario.window, (0,) * scenario.members))
    return write(world._replace(gateway=Gateway(()), broker=(Message(store.PARENT, 1, redis.epoch),)), redis)


def start(scenario: Scenario) -> World:
    if scenario.members:
        return start_group(scenario)
    jobs = max(scenario.requests) + 1
    no = (False,) * jobs
    left = tuple(scenario.faults.get(name, 0) for name in FAULTS) + (scenario.limit,)
    return World(store.empty(jobs), None, (), Gateway(tuple(Request(job) for job in scenario.requests)),
                 (Worker(),) * scenario.workers, Ghost(no, no, no, (frozenset(),) * jobs, no, no), left)


# ---- the budget ------------------------------------------------------------

def can(world, fault):
    return world.left[-1] > 0 and world.left[FAULTS.index(fault)] > 0


def pay(world, fault):
    at = FAULTS.index(fault)
    left = put(world.left, at, world.left[at] - 1)
    return world._replace(left=left[:-1] + (left[-1] - 1,))


# ---- moves -----------------------------------------------------------------

def set_worker(world, w, **fields):
    return world._replace(workers=put(world.workers, w, world.workers[w]._replace(**fields)))


def set_gateway(world, **fields):
    return world._replace(gateway=world.gateway._replace(**fields))


def publish(world, rules, message, epoch):
    """Puts a confirmed copy of the message into the broker; its id is one that nobody knows."""
    copy = 1
    if 'copy_new_per_publish' in rules:
        known = {m.copy for m in world.broker} | {w.message.copy for w in world.workers}
        for redis in (world.redis, world.snapshot or world.redis):
            known |= {record.copy for record in redis.records if record}
        copy = min(set(range(1, len(known) + 2)) - known)
    return world._replace(broker=tuple(sorted(world.broker + (Message(message.job, copy, epoch),))))


def take(world, message):
    at = world.broker.index(message)
    return world._replace(broker=world.broker[:at] + world.broker[at + 1:])


def requeue(world, w):
    """The broker takes back what the worker has not acked."""
    me = world.workers[w]
    if not me.held:
        return world
    world = world._replace(broker=tuple(sorted(world.broker + (me.message,))))
    return set_worker(world, w, held=False)


def new_life(world):
    """An owner's name that no worker has and no record knows."""
    known = {worker.life for worker in world.workers}
    for redis in (world.redis, world.snapshot or world.redis):
        known |= {record.owner for record in redis.records if record}
    return min(set(range(1, len(known) + 2)) - known)


def can_lose_redis(world):
    return can(world, 'roll back redis') or can(world, 'flush redis')


def remember(world, rules, actor, *entry):
    """The actor's redo ring after one more confirmed transition (kept only while it may be needed)."""
    wanted = can_lose_redis(world) and 'redo_ring' in rules and entry not in actor.ring
    return actor.ring + (entry,) if wanted else actor.ring


# ---- the witness -----------------------------------------------------------

def mark(world, field, job, value=True):
    flags = getattr(world.ghost, field)
    if flags[job] == value:
        return world
    return world._replace(ghost=world.ghost._replace(**{field: put(flags, job, value)}))


def foul(world, text):
    return world._replace(ghost=world.ghost._replace(foul=text))


def write(world, redis):
    """A script has changed the store."""
    before, world = world.redis, world._replace(redis=redis)
    for job, record in enumerate(redis.records):
        if record is None or record is before.records[job]:
            continue
        if record.counted:
            world = mark(world, 'accepted', job)
        if record.state == 'completed':
            is_parent = redis.group is not None and job == store.PARENT
            awaited = any(entry[0] == 'settle' and (is_parent or entry[1] == job)
                          for worker in world.workers for entry in worker.redo)
            others = frozenset() if awaited else world.ghost.results[job]       # a race that README.md allows
            world = mark(world, 'results', job, others | {redis.group.sealed if is_parent else record.fence})
            if awaited and redis.group is not None and not is_parent:
                world = mark(world, 'results', store.PARENT, frozenset())       # so is its parent's
        if redis.group is not None and job == store.PARENT:
            world = judge_parent(world, before.records[job], record)
        world = mark(world, 'ended', job, record.state in TERMINAL)
    return world


def judge_parent(world, before, record):
    """It ends once, and with all results."""
    if record.state == 'completed' and not all(world.redis.group.sealed):
        return foul(world, 'G: a parent was completed without the results of all its members')
    ends_again = before and before.state in TERMINAL and record.state != before.state
    if ends_again and (before.state, record.state) != ('failed', 'pending'):        # that is a retry
        return foul(world, 'G: a parent ended twice')
    return world


def mourn(world, actor):
    """A process dies with its ring: if Redis forgets, too, nobody knows what it wrote."""
    for field, entries in (('excused', actor.redo), ('dying', actor.ring)):
        for entry in entries:
            world = mark(world, field, entry[1])
            if world.redis.group is not None:
                world = mark(world, field, store.PARENT)    # it waits for its members
    return world


def ended(world, job):
    record = world.redis.records[job]
    return record.state in TERMINAL if record else world.ghost.ended[job]


def carried(world, job):
    """Somebody has the job's message, or is about to write what it knows of the job. A parent's members carry it,
    too, when each that it still waits for is carried or will be let go by one that is."""
    group, record = world.redis.group, world.redis.records[job]
    if group and job == store.PARENT and group.open and record and record.state == 'in-progress':
        if all(carried(world, store.job_of(group, number)) for number in group.open):
            return True
    gw = world.gateway
    return (any(message.job == job for message in world.broker) or world.redis.outbox[job] != 0
            or any(worker.message.job == job for worker in world.workers)
            or any(entry[1] == job for actor in (gw, *world.workers) for entry in actor.redo)
            or gw.half == job or gw.relay[:1] == (job,)
            or any(q.job == job and q.step in ('publish', 'confirmed', 'unsure') for q in gw.requests))
