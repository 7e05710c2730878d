# SPDX-License-Identifier: Apache-2.0
"""What groups add to the contract: a parent, its members, and what their scripts do to each other.

The scripts of contract.py again, under the same names, for a store that may have
one group; one that has none is handed on as it is. Job 0 is the parent. Of M
members, member i in round r is job 1 + r * M + i: as in the real store an id
tells parent, round and number, so that whoever makes a member again makes the same.

What a worker finds among the blobs after a loss of Redis (`sealed` of split) is
left out on purpose: without it everything must hold as well.
"""

import contract
from contract import (  # noqa: F401  (some for those who import them from here)
    LIVE, TERMINAL, Group, Record, accept, create, empty, enter, move, outbox, outbox_done, put, vanish)

PARENT = 0
CANCELLED = -1      # in the place of a fence: the claim has cancelled a member


def member_of(group, job):
    """Round and number of a member."""
    return divmod(job - 1, len(group.sealed))


def job_of(group, number):
    return 1 + group.round * len(group.sealed) + number


def is_member(redis, job):
    return redis.group is not None and job != PARENT


def change(redis, **fields):
    return redis._replace(group=redis.group._replace(**fields))


def is_over(redis, rules, job, record):
    """Whether nobody waits for this member any more."""
    group, parent = redis.group, redis.records[PARENT]
    turn, number = member_of(group, job)
    if parent is None:
        return not (record.remade and 'remade_waits' in rules)
    return parent.state in TERMINAL or group.known and (group.sealed[number] != 0 or turn != group.round)


# ---- the parent ------------------------------------------------------------

def make(redis, job):
    """A member's record and its outbox entry."""
    return enter(move(redis, job, (redis.records[job] or Record())._replace(state='pending', counted=True)), job)


def release(redis):
    """Lets members go while fewer are open than may be."""
    group = redis.group
    while len(group.open) < group.window and group.next < len(group.sealed):
        if not group.sealed[group.next]:
            group = group._replace(open=group.open | {group.next})
            job = job_of(group, group.next)
            if redis.records[job] is None:
                redis = make(redis, job)
        group = group._replace(next=group.next + 1)
    return redis._replace(group=group)


def end(redis, state):
    redis = change(redis, open=frozenset())
    return move(redis, PARENT, redis.records[PARENT]._replace(state=state, kept=state == 'failed'))


def progress(redis, rules):
    """Completes the parent when that is all. Returns the store, and whether it has."""
    parent = redis.records[PARENT]
    may_end = parent.state == 'in-progress' or 'parent_ends_by_state' not in rules
    if redis.group.done < len(redis.group.sealed) or not may_end:
        return redis, False
    return end(redis, 'completed'), True


def seal(redis, rules, number, fence):
    """A member has a result. Returns the store, and whether that counts."""
    group = redis.group
    redis = change(redis, open=group.open - {number})
    if group.sealed[number] and 'member_counts_once' in rules:
        return redis, False
    return change(redis, sealed=put(group.sealed, number, fence), done=group.done + 1), True


def split(redis, rules, job, fence, claimed):
    """A visit: makes the members that are missing. Answers retrying, or ok when the parent has ended."""
    record, answer = contract.hold(redis, rules, PARENT, fence, claimed, 0, 0)
    if record is None or record.state not in ('in-progress', 'completed', 'failed'):
        return redis, answer or 'stale'
    if record.state in TERMINAL:
        return redis, 'ok'
    redis = move(redis, PARENT, record._replace(split=True, owner=0, copy=0, lease=False, detached=False, losses=0))
    redis = change(redis, known=True)
    if 'lost_members_made_again' in rules or not record.remade:
        redis = release(redis)
    for number in sorted(redis.group.open):
        member = job_of(redis.group, number)
        record = redis.records[member]
        if record is None or record.state == 'cancelled' and 'cancelled_begins_anew' in rules:
            redis = make(redis, member)
        elif record.state == 'completed' and 'visits_see_ended' in rules:
            redis, _ = seal(redis, rules, number, record.fence)
        elif record.state == 'failed' and 'visits_see_ended' in rules:
            return end(redis, 'failed'), 'ok'
    redis, is_done = progress(redis, rules)
    return redis, 'ok' if is_done else 'retrying'


# ---- what a member's end does to its parent -----------------------------------

def member_ended(redis, rules, job, before):
    """The member has just completed or failed for good: its parent is counted, goes on, or ends by it."""
    group, parent, record = redis.group, redis.records[PARENT], redis.records[job]
    turn, number = member_of(group, job)
    if before is not None and before.state == record.state:
        return redis                    # the first answer again
    if record.state == 'failed':
        counts = group.known and turn == group.round and not group.sealed[number]
        return end(redis, 'failed') if counts and parent and parent.state in LIVE else redis
    if parent is None and 'members_count_early' not in rules:
        return redis
    redis, is_new = seal(redis, rules, number, record.fence)
    if not group.known or parent is None or not is_new:
        return redis
    if parent.state in TERMINAL and 'parent_ends_by_state' in rules:
        return redis
    redis, is_done = progress(redis, rules)
    return redis if is_done or redis.records[PARENT].state != 'in-progress' else release(redis)


# ---- the scripts that groups change ----------------------------------------------

def claim(redis, rules, message, owner, second):
    job, record = message.job, redis.records[message.job]
    if redis.group is None:
        return contract.claim(redis, rules, message, owner, second)
    if job == PARENT and record and record.state == 'in-progress' and record.split and not record.owner \
            and 'visit_is_no_loss' in rules:
        fence = redis.clock + 1
        record = record._replace(fence=fence, copy=message.copy, owner=owner, lease=True)
        return move(redis._replace(clock=fence), PARENT, record), 'run', fence
    base = redis
    if record is None and message.epoch != redis.epoch:
        record = Record('pending', True, remade=True)
        base = move(redis, job, record)
    if job != PARENT:
        if record and record.state not in TERMINAL and is_over(redis, rules, job, record):
            return move(base, job, record._replace(state='cancelled', counted=True)), 'terminal', CANCELLED
    after, answer, fence = contract.claim(base, rules, message, owner, second)
    if answer == 'terminal' and fence and job != PARENT:
        after = member_ended(after, rules, job, record)
    return after, answer, fence


def renew(redis, rules, job, fence, claimed, owner, copy, detached):
    after, answer = contract.renew(redis, rules, job, fence, claimed, owner, copy, detached)
    if answer == 'ok' and is_member(redis, job) and is_over(after, rules, job, after.records[job]):
        return move(after, job, after.records[job]._replace(state='cancelled')), 'cancelled'
    return after, answer


def settle(redis, rules, job, fence, claimed, outcome, replayed=False):
    after, answer = contract.settle(redis, rules, job, fence, claimed, outcome, replayed)
    if is_member(redis, job) and after is not redis and after.records[job].state in ('completed', 'failed'):
        after = member_ended(after, rules, job, redis.records[job])
    return after, answer


def drain(redis, rules, job, fence, claimed):
    record, _ = contract.hold(redis, rules, job, fence, claimed, 0, 0)
    if record is not None and record.split and record.state == 'in-progress':
        return move(redis, job, record._replace(owner=0, copy=0, lease=False, detached=False)), 'ok'
    return contract.drain(redis, rules, job, fence, claimed)


def cancel(redis, rules, job, replayed=False):
    if is_member(redis, job) and not replayed:
        return redis, 'refused'         # its parent is what one cancels
    after, answer = contract.cancel(redis, rules, job, replayed)
    if answer == 'ok' and redis.group is not None and job == PARENT:
        after = change(after, open=frozenset())
    return after, answer


def retry(redis, rules, job):
    if is_member(redis, job):
        return redis, 'refused'
    after, answer = contract.retry(redis, rules, job)
    if answer == 'ok' and redis.group is not None and redis.group.known:
        after = change(after, round=redis.group.round + 1, next=0)
    return after, answer


def lose(redis, rules, snapshot):
    after = contract.lose(redis, rules, snapshot)
    if redis.group is not None and snapshot is None:
        after = after._replace(group=Group(redis.group.window, (0,) * len(redis.group.sealed)))
    return after


def replay(redis, rules, entry):
    script, job, *rest = entry
    if script == 'split':
        return split(redis, rules, job, *rest)[0]
    if script == 'settle':
        return settle(redis, rules, job, *rest, replayed=True)[0]
    if script == 'cancel':
        return cancel(redis, rules, job, replayed=True)[0]
    if script == 'retry':
        return retry(redis, rules, job)[0]
    return contract.replay(redis, rules, entry)


# ---- one state, one name ------------------------------------------------------------
#
# A group goes on for ever as far as fences and copies are concerned: each visit takes
# new ones. What matters of a fence is which are equal and which is greater, of a copy
# and an owner which are equal. So they are numbered anew in each state.

NUMBERED = ('settle', 'split')      # ring entries whose third part is a fence


def compact(world):
    stores = (world.redis, world.snapshot) if world.snapshot else (world.redis,)
    records = [record for redis in stores for record in redis.records if record]
    fences, copies, owners = {0}, {0: 0}, {0: 0}
    for redis in stores:
        fences.update(redis.outbox, redis.group.sealed)
    for record in records:
        fences.add(record.fence)
        copies.setdefault(record.copy, len(copies))
        owners.setdefault(record.owner, len(owners))
    for worker in world.workers:
        fences.add(worker.fence)
        fences.update(entry[2] for entry in worker.ring + worker.redo if entry[0] in NUMBERED)
        copies.setdefault(worker.message.copy, len(copies))
        owners.setdefault(worker.life, len(owners))
    for found in world.ghost.results:
        for result in found:
            fences.update(result if isinstance(result, tuple) else (result,))
    fences.update(world.gateway.relay[1:2])
    for message in sorted(world.broker, key=lambda m: (m.job, m.epoch, copies.get(m.copy, len(copies)))):
        copies.setdefault(message.copy, len(copies))
    world = world._replace(redis=world.redis._replace(clock=len(fences) - 1),
                           snapshot=world.snapshot and world.snapshot._replace(clock=0))
    if any(names[at] != at for names in (copies, owners) for at in names) or len(fences) <= max(fences):
        world = rename(world, dict(zip(sorted(fences), range(len(fences)))).__getitem__, copies.__getitem__,
                       owners.__getitem__)
    return world


def rename(world, fence, copy, owner):
    """The world with other numbers for fences (and outbox entries), copies and owners."""
    def store(redis):
        records = tuple(record and record._replace(fence=fence(record.fence), copy=copy(record.copy),
                                                   owner=owner(record.owner)) for record in redis.records)
        return redis._replace(records=records, outbox=tuple(map(fence, redis.outbox)),
                              group=redis.group._replace(sealed=tuple(map(fence, redis.group.sealed))))

    def ring(entries):
        return tuple((*e[:2], fence(e[2]), *e[3:]) if e[0] in NUMBERED else e for e in entries)

    def worker(w):
        return w._replace(life=owner(w.life), fence=fence(w.fence), ring=ring(w.ring), redo=ring(w.redo),
                          message=w.message._replace(copy=copy(w.message.copy)))

    gw, relay = world.gateway, world.gateway.relay
    results = tuple(frozenset(tuple(map(fence, f)) if isinstance(f, tuple) else fence(f) for f in found)
                    for found in world.ghost.results)
    return world._replace(redis=store(world.redis), snapshot=world.snapshot and store(world.snapshot),
                          broker=tuple(sorted(m._replace(copy=copy(m.copy)) for m in world.broker)),
                          workers=tuple(sorted(map(worker, world.workers))),
                          gateway=gw._replace(relay=(relay[0], fence(relay[1]), *relay[2:]) if relay else ()),
                          ghost=world.ghost._replace(results=results))
