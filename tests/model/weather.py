# SPDX-License-Identifier: Apache-2.0
"""Time and bad luck: what happens to a fleet without its doing.

Time has no number: a lease, a backoff or a TTL may be over at any moment.
Four promises of real time are kept all the same: a lease runs over under a
live owner only as a fault; the second ask comes after a live owner has said
`detached`; what Redis can lose is younger than what the redo rings hold; and
no terminal record expires before its last owner has heard of the end.
All other misfortunes are paid from the scenario's budget.
"""

import groups as store
from actors import IDLE, OVER, gateway_steps, restart, worker_steps
from contract import LIVE, TERMINAL
from world import Gateway, can, can_lose_redis, carried, mark, mourn, pay, requeue, set_gateway, set_worker, take, write


def steps(world, rules):
    """Everything that may happen next. Workers have no rank: their order is that of their states."""
    for label, fault, after in all_steps(world, rules):
        if after.redis.group is not None:
            after = store.compact(after)
        yield label, fault, after._replace(workers=tuple(sorted(after.workers)))


def all_steps(world, rules):
    yield from gateway_steps(world, rules)
    for w in range(len(world.workers)):
        yield from worker_steps(world, rules, w)
    for job, record in enumerate(world.redis.records):
        if record is not None:
            yield from time_steps(world, job, record)
            yield from reconciler_steps(world, rules, job, record)
    yield from process_faults(world)
    yield from channel_faults(world, rules)
    yield from redis_faults(world, rules)


# ---- time ------------------------------------------------------------------

def time_steps(world, job, record):
    redis = world.redis

    def becomes(**fields):
        return write(world, store.move(redis, job, record._replace(**fields)))

    if record.state == 'retrying' and not record.due:
        yield f'time: job {job} is due', False, becomes(due=True)
    if record.state == 'in-progress' and record.lease:
        if not any(o.life == record.owner and o.step not in ('idle', 'ack') for o in world.workers):
            yield f'time: the lease of job {job} is over', False, becomes(lease=False)
        elif can(world, 'run lease over'):
            yield (f'time: the lease of job {job} is over, its owner is slow', True,
                   pay(becomes(lease=False), 'run lease over'))
    if record.state in LIVE and not record.late and can(world, 'pass deadline'):
        yield f'time: the deadline of job {job} passes', True, pay(becomes(late=True), 'pass deadline')
    has_ttl, fault = record.state == 'unconfirmed' or not record.counted, 'expire unconfirmed'
    if record.state in TERMINAL:            # who still computes it hears of the end long before
        has_ttl, fault = not any(o.message.job == job and o.fence for o in world.workers), 'expire record'
    if has_ttl and can(world, fault):
        yield f'time: the record of job {job} expires', True, pay(write(world, store.vanish(redis, job)), fault)


def reconciler_steps(world, rules, job, record):
    if record.state != 'retrying':
        return
    for message in dict.fromkeys(world.broker if can(world, 'lose ladder copy') else ()):
        if message.job == job:
            yield (f'broker: the ladder loses copy {message.copy} of job {job}', True,
                   pay(take(world, message), 'lose ladder copy'))
    if record.due and record.kept and 'overdue_republished' in rules and not carried(world, job):
        yield f'reconciler: job {job} is overdue, to the outbox', False, write(world, store.enter(world.redis, job))


# ---- processes and channels ------------------------------------------------

def process_faults(world):
    gw = world.gateway
    busy = gw.relay or gw.ring or gw.redo or gw.half >= 0 or any(q.step not in (*OVER, 'new') for q in gw.requests)
    if busy and can(world, 'crash gateway'):
        over = tuple(q if q.step in ('told', 'new') else q._replace(step='refused', epoch=0) for q in gw.requests)
        after = mourn(pay(world, 'crash gateway'), gw)
        yield 'gateway: crashes', True, after._replace(gateway=Gateway(over))
    for w, me in enumerate(world.workers):
        if can(world, 'crash worker') and (me.step != 'idle' or me.ring or me.redo):
            yield f'worker {me.life}: crashes', True, restart(pay(world, 'crash worker'), w)


def channel_faults(world, rules):
    holders = [w for w, me in enumerate(world.workers) if me.held]
    if holders and can(world, 'crash broker'):
        after = pay(world, 'crash broker')
        for w in holders:
            after = lose_channel(after, rules, w)
        yield 'broker: crashes; all that is unacked comes back', True, after
    if can(world, 'lose channel'):
        for w in holders:
            after = lose_channel(pay(world, 'lose channel'), rules, w)
            yield f'worker {world.workers[w].life}: loses its channel', True, after


def lose_channel(world, rules, w):
    step = world.workers[w].step
    world = requeue(world, w)
    if step in ('got', 'asked', 'ack'):
        return set_worker(world, w, **IDLE)
    if step == 'computing' and 'detach' in rules:
        return set_worker(world, w, detach='lost')
    return world


# ---- Redis -----------------------------------------------------------------

def redis_faults(world, rules):
    if can(world, 'flush redis'):
        yield 'redis: comes back empty', True, lose_redis(pay(world, 'flush redis'), rules, None)
    if not can(world, 'roll back redis'):
        return
    if world.snapshot is not None:
        after = lose_redis(pay(world, 'roll back redis'), rules, world.snapshot)
        yield 'redis: comes back as it was at the fsync', True, after
        return
    nobody = (False,) * len(world.ghost.dying)
    taken = world._replace(snapshot=world.redis, ghost=world.ghost._replace(dying=nobody))
    yield 'redis: fsync', False, taken
    forgotten = forget(taken, rules)
    if forgotten != taken:
        yield 'redis: fsync; the rings forget what is older', False, forgotten


def forget(world, rules):
    def rest(actor):
        return actor.redo if 'replay_renews_ring' in rules else ()

    for w, me in enumerate(world.workers):
        world = set_worker(world, w, ring=rest(me))
    return set_gateway(world, ring=rest(world.gateway))


def lose_redis(world, rules, snapshot):
    """Everybody's connection breaks; who has a ring will replay it before it asks for anything else."""
    redis, ghost, gw = store.lose(world.redis, rules, snapshot), world.ghost, world.gateway
    outbox, world = world.redis.outbox, world._replace(redis=redis, snapshot=None)
    for job, record in enumerate(redis.records):
        if ghost.dying[job]:
            world = mark(world, 'excused', job)
        if ghost.cancelled[job] and not (record and record.state == 'cancelled'):
            world = mark(world, 'cancelled', job, False)    # until the gateway has replayed it
        if snapshot is None:
            world = mark(world, 'results', job, frozenset())
    more = can_lose_redis(world)
    for w, me in enumerate(world.workers):
        detach = 'lost' if me.detach and 'detach_retold' in rules else me.detach
        world = set_worker(world, w, redo=me.ring, ring=me.ring if more else (), detach=detach)
    world = set_gateway(world, redo=gw.ring, ring=gw.ring if more else ())
    for job, entry in enumerate(outbox if snapshot is None else ()):
        if entry and not carried(world, job):
            world = mark(world, 'excused', job)             # the outbox is gone, but for what a gateway replays
    return world
