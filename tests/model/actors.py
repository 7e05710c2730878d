# SPDX-License-Identifier: Apache-2.0
"""The clients of the store: the gateway and the workers, step by step.

Each generator lists what its actor may do next, as (label, is_fault, world
after it). A step is as small as what can be interrupted: one script, one
publish, one ack. A step that asks the store waits while the actor has a redo
ring to replay; what needs no store (ack, publish, exit) does not wait.
"""

import groups as store
from contract import TERMINAL
from world import (NOTHING, Message, Request, Worker, can, foul, mark, mourn, new_life, pay, publish, put, remember,
                   requeue, set_gateway, set_worker, take, write)


def show(entry):
    """A ring entry in words."""
    script, job, *rest = entry
    return f'{script} of job {job}' + (f', fence {rest[0]}: {rest[-1]}' if rest else '')


# ---- the gateway -----------------------------------------------------------

OVER = ('told', 'refused')


def gateway_steps(world, rules):
    gw = world.gateway
    for r, request in enumerate(gw.requests):
        if request.step not in OVER:
            for label, fault, after in request_steps(world, rules, r, request):
                yield f'request {r + 1}: {label}', fault, after
    if not gw.redo:
        yield from relay_steps(world, rules)
        yield from person_steps(world, rules)
        return
    entry = gw.redo[0]
    after = set_gateway(write(world, store.replay(world.redis, rules, entry)), redo=gw.redo[1:])
    record = after.redis.records[entry[1]]
    if entry[0] == 'cancel' and not (record and record.state == 'completed'):
        after = mark(after, 'cancelled', entry[1])
    yield f'gateway: replays {show(entry)}', False, after


def request_steps(world, rules, r, request):
    """create, publish, confirm, accept, 202; or the outbox where the confirm did not come."""
    job, step, epoch = request

    def goto(world, step, epoch=epoch):
        if step == 'told' or step == 'confirmed' and 'accept_before_told' not in rules:
            world = mark(world, 'accepted', job)
        requests = put(world.gateway.requests, r, Request(job, step, 0 if step in OVER else epoch))
        return set_gateway(world, requests=requests)

    if step == 'publish':
        unsure = 'unsure' if 'accept_after_confirm' in rules else 'confirmed'
        sent = publish(world, rules, Message(job), epoch)
        yield 'publish -> confirmed', False, goto(sent, 'confirmed')
        if can(world, 'lose confirm'):
            yield 'publish -> confirm lost', True, goto(pay(sent, 'lose confirm'), unsure)
        if can(world, 'refuse publish'):
            yield 'publish -> broker away', True, goto(pay(world, 'refuse publish'), unsure)
    elif world.gateway.redo:
        return
    elif step == 'new':
        made = any(q.job == job and q.step != 'new' for q in world.gateway.requests)
        if made and world.redis.records[job] is None:
            return                          # the key has expired: this would be another job
        redis, answer = store.create(world.redis, rules, job)
        after = goto(write(world, redis), 'told' if answer == 'accepted' else 'publish', redis.epoch)
        yield f'create -> {answer}', False, after
    else:
        script = 'accept' if step == 'confirmed' else 'outbox'
        redis, answer = getattr(store, script)(world.redis, rules, job, epoch)
        after = write(world, redis)
        if can(world, 'lose reply'):
            yield f'{script} -> {answer}, reply lost', True, pay(after, 'lose reply')
        if answer == 'ok':
            after = set_gateway(after, ring=remember(world, rules, world.gateway, script, job))
        yield f'{script} -> {answer}', False, goto(after, 'told' if answer == 'ok' else 'refused')


def relay_steps(world, rules):
    """Outbox to broker: publish, confirm, forget."""
    gw, redis = world.gateway, world.redis
    if gw.half >= 0:
        entered = write(world, store.enter(redis, gw.half))
        yield f'gateway: enters the retried job {gw.half}', False, set_gateway(entered, half=-1)
    if gw.relay:
        job, entry, to_publish = gw.relay
        if to_publish:
            sent = publish(world, rules, Message(job), redis.epoch)
            yield f'relay: publishes job {job}', False, set_gateway(sent, relay=())
        else:
            done = write(world, store.outbox_done(redis, rules, job, entry))
            yield f'relay: forgets entry {entry} of job {job}', False, set_gateway(done, relay=())
        return
    for job, entry in enumerate(redis.outbox):
        if not entry:
            continue
        record, done = redis.records[job], write(world, store.outbox_done(redis, rules, job, entry))
        if record and record.state in TERMINAL:
            yield f'relay: drops job {job}, it has ended', False, done
        elif 'relay_forgets_last' not in rules:
            yield f'relay: takes job {job} out', False, set_gateway(done, relay=(job, entry, True))
        else:
            sent = publish(world, rules, Message(job), redis.epoch)
            if redis.group is not None:     # what may happen in between is the same for all jobs
                sent = write(sent, store.outbox_done(redis, rules, job, entry))
                yield f'relay: publishes and forgets entry {entry} of job {job}', False, sent
                continue
            yield f'relay: publishes entry {entry} of job {job}', False, set_gateway(sent, relay=(job, entry, False))
            if can(world, 'lose confirm'):
                yield f'relay: publishes entry {entry} of job {job}, confirm lost', True, pay(sent, 'lose confirm')


def person_steps(world, rules):
    """A client who knows the id cancels, or asks for another run."""
    for job in range(len(world.redis.records)):
        for script in ('cancel', 'retry'):
            if not can(world, script) or not world.ghost.accepted[job]:
                continue
            redis, answer = getattr(store, script)(world.redis, rules, job)
            if answer != 'ok':
                continue
            half = job if script == 'retry' and 'retry_outbox_atomic' not in rules else -1
            after = set_gateway(pay(write(world, redis), script), half=half,
                                ring=remember(world, rules, world.gateway, script, job))
            yield f'client: {script} of job {job} -> ok', True, mark(after, 'cancelled', job, script == 'cancel')


# ---- the workers -----------------------------------------------------------

FREE = dict(epoch=0, fence=0, claimed=0, outcome='', detach='')
IDLE = dict(FREE, step='idle', message=NOTHING, held=False)
ACK = dict(FREE, step='ack')


def worker_steps(world, rules, w):
    me = world.workers[w]
    if me == Worker() and me in world.workers[:w]:
        return                              # two workers who never did anything are one
    life = me.life or new_life(world)
    for label, fault, after in slot_steps(world, rules, w, me, life):
        yield f'worker {life}: {label}', fault, after
    if me.redo:
        after = write(set_worker(world, w, redo=me.redo[1:]), store.replay(world.redis, rules, me.redo[0]))
        yield f'worker {life}: replays {show(me.redo[0])}', False, after


def slot_steps(world, rules, w, me, life):
    if me.step == 'idle':
        for message in dict.fromkeys(world.broker):
            yield (f'delivery of job {message.job}, copy {message.copy}', False,
                   set_worker(take(world, message), w, life=life, step='got', message=message, held=True))
    elif me.step in ('defer', 'publish'):
        if 'successor_before_ack' in rules or not me.held:
            sent = publish(world, rules, me.message, me.epoch)
            yield f'publishes a copy to a rung ({me.step})', False, set_worker(sent, w, **ACK)
        else:
            yield 'acks before its copy is out', False, set_worker(world, w, held=False)
    elif me.step == 'ack':
        yield 'acks' if me.held else 'forgets the job', False, set_worker(world, w, **IDLE)
    elif me.step == 'leaving':
        yield 'exits', False, restart(world, w)
        if not me.redo and not is_visit(world, me):
            redis, answer = store.settle(world.redis, rules, me.message.job, me.fence, me.claimed, 'completed')
            after = judge_settle(write(world, redis), world, me, answer)
            yield f'late result of fence {me.fence} -> {answer}, exits', False, restart(after, w)
    elif me.redo:
        return
    elif me.step in ('got', 'asked'):
        yield from claim_steps(world, rules, w, me)
    else:
        if me.step == 'computing':
            yield from owner_steps(world, rules, w, me)
        yield from (split_steps if is_visit(world, me) else settle_steps)(world, rules, w, me)


def is_visit(world, me):
    """What the worker holds is a group's parent: nothing to compute, but members to be made."""
    return world.redis.group is not None and me.message.job == store.PARENT


def restart(world, w):
    """The process is gone, the broker has its delivery back, a new process starts."""
    world = mourn(requeue(world, w), world.workers[w])
    return world._replace(workers=put(world.workers, w, Worker()))


def claim_steps(world, rules, w, me):
    job = me.message.job
    if me.step == 'asked' and any(o.detach == 'lost' and o.message.job == job for o in world.workers):
        return                              # within the 400 ms a live owner says that it is detached
    redis, answer, fence = store.claim(world.redis, rules, me.message, me.life, me.step == 'asked')
    after = judge_claim(write(world, redis), world, me, answer)
    label = f'claim -> {answer}' + (f' (fence {fence})' if answer == 'run' else '')
    if can(world, 'lose reply') and redis is not world.redis:
        yield label + ', reply lost', True, pay(after, 'lose reply')
    fields = dict(epoch=redis.epoch)
    if fence == store.CANCELLED:        # a member whose group has ended
        fields.update(ACK, ring=remember_cancel(world, rules, me, job))
    elif answer in ('run', 'mine'):
        fields.update(step='computing', fence=fence, claimed=redis.epoch, held='ack_after_settle' in rules)
    elif answer in ('terminal', 'gone'):
        fields.update(ACK)
        if fence and 'claimed_end_in_ring' in rules:     # this very claim ended the job
            fields.update(ring=remember(world, rules, me, 'settle', job, fence, redis.epoch, 'permanent'))
    elif answer == 'ask':
        fields.update(step='asked')
    elif answer == 'later' or 'defer_duplicates' in rules:
        fields.update(step='defer')
    else:
        fields.update(ACK)
    yield label, False, set_worker(after, w, **fields)


def owner_steps(world, rules, w, me):
    """What an owner does besides computing: renew, say that it is detached, take its message back, drain."""
    job, record = me.message.job, world.redis.records[me.message.job]
    redis, answer = store.renew(world.redis, rules, job, me.fence, me.claimed, me.life, me.message.copy,
                                me.detach != '')
    if answer == 'cancelled' and redis is not world.redis:
        after = set_worker(write(world, redis), w, ring=remember_cancel(world, rules, me, job))
        yield 'renew -> cancelled, its group has ended', False, refused(after, rules, w, answer)
    elif answer != 'ok':
        yield f'renew -> {answer}', False, refused(world, rules, w, answer)
    elif me.detach == 'lost' or redis.records[job] != record:
        told = 'told' if me.detach else ''
        yield f'renew{" (detached)" if told else ""} -> ok', False, set_worker(write(world, redis), w, detach=told)
    for message in dict.fromkeys(() if me.held else world.broker):
        if store.claim(world.redis, rules, message, me.life, False)[1] == 'mine':
            yield (f'copy {message.copy} comes back, claim -> mine', False,
                   set_worker(take(world, message), w, message=message, held=True, detach=''))
    if can(world, 'drain'):
        redis, answer = store.drain(world.redis, rules, job, me.fence, me.claimed)
        after = requeue(pay(write(world, redis), 'drain'), w)
        yield f'SIGTERM, drain -> {answer}, nack', True, set_worker(after, w, step='leaving')


def remember_cancel(world, rules, me, job):
    return remember(world, rules, me, 'cancel', job) if 'member_cancel_in_ring' in rules else me.ring


def split_steps(world, rules, w, me):
    """A visit to a parent: makes members, and sends the message round once more."""
    redis, answer = store.split(world.redis, rules, me.message.job, me.fence, me.claimed)
    after = write(world, redis)
    if can(world, 'lose reply'):
        yield f'split -> {answer}, reply lost', True, pay(after, 'lose reply')
    if answer in ('ok', 'retrying'):
        ring = me.ring
        if 'split_in_ring' in rules:        # the last one says all that those before had said
            me = me._replace(ring=tuple(entry for entry in ring if entry[0] != 'split'))
            ring = remember(world, rules, me, 'split', me.message.job, me.fence, me.claimed)
        step = ACK if answer == 'ok' else dict(FREE, step='publish', epoch=redis.epoch)
        yield f'split of fence {me.fence} -> {answer}', False, set_worker(after, w, **dict(step, ring=ring))
    else:
        yield f'split of fence {me.fence} -> {answer}', False, refused(after, rules, w, answer)


OUTCOMES = {'completed': None, 'error': 'transient error', 'permanent': 'permanent error', 'loss': 'lose executor'}


def settle_steps(world, rules, w, me):
    for outcome, fault in OUTCOMES.items():
        if me.step == 'settle':             # tried before: the outcome is known
            if outcome == me.outcome:
                yield from settle_step(world, rules, w, me, outcome, False)
        elif fault is None:
            yield from settle_step(world, rules, w, me, outcome, False)
        elif can(world, fault) and outcome == 'error' and 'transition_before_publish' not in rules:
            sent = publish(pay(world, fault), rules, me.message, me.epoch)
            yield 'publishes a copy to a rung, then tells', True, set_worker(sent, w, step='settle', outcome=outcome)
        elif can(world, fault):
            yield from settle_step(pay(world, fault), rules, w, me, outcome, True)


def settle_step(world, rules, w, me, outcome, is_fault):
    job = me.message.job
    redis, answer = store.settle(world.redis, rules, job, me.fence, me.claimed, outcome)
    after = judge_settle(write(world, redis), world, me, answer)
    label = 'finish' if outcome == 'completed' else f'fail ({outcome})'
    label = f'{label} of fence {me.fence} -> {answer}'
    if can(world, 'lose reply'):
        yield label + ', reply lost', True, set_worker(pay(after, 'lose reply'), w, step='settle', outcome=outcome)
    if answer in ('ok', 'failed', 'retrying'):
        final = 'permanent' if answer == 'failed' and 'ring_keeps_answer' in rules else outcome
        ring = remember(world, rules, me, 'settle', job, me.fence, me.claimed, final)
        published = answer != 'retrying' or 'transition_before_publish' not in rules
        step = ACK if published else dict(FREE, step='publish', epoch=redis.epoch)
        yield label, is_fault, set_worker(after, w, **dict(step, ring=ring))
    else:
        yield label, is_fault, refused(after, rules, w, answer)


def refused(world, rules, w, answer):
    """Not ours any more: the executor is killed; stale claims again with the delivery in hand."""
    if answer == 'stale' and world.workers[w].held and 'stale_claims_again' in rules:
        return set_worker(world, w, **dict(FREE, step='got'))
    return set_worker(world, w, **ACK)


# ---- what the witness says -------------------------------------------------

def judge_claim(after, before, me, answer):
    """Nobody alive is robbed, no backoff is skipped."""
    record = before.redis.records[me.message.job]
    lost = after.redis.records[me.message.job]
    is_over = lost and lost.state == 'cancelled'        # a member: its group has ended
    if record and record.split and not record.owner and record.state == 'in-progress' and lost.losses > record.losses:
        return foul(after, 'G: a visit to a parent that nobody had lost counted as a loss')
    if is_over:
        return after
    if answer not in ('run', 'terminal') or not record or record.state in TERMINAL:
        return after
    if record.state == 'retrying' and not record.due:
        return foul(after, 'B: a retrying job ran before it was due')
    robbed = record.owner == me.life or any(
        o.life == record.owner and o.fence == record.fence and o.step == 'computing' for o in before.workers)
    if record.state == 'in-progress' and record.lease and robbed:
        return foul(after, 'L: a live owner with a live lease was robbed of its job')
    return after


def judge_settle(after, before, me, answer):
    """A result counts only for the owner who was to give it."""
    record = before.redis.records[me.message.job]
    if answer in ('ok', 'failed', 'retrying') and record and record.state == 'in-progress' \
            and record.owner != me.life and (record.fence == me.fence or me.claimed == before.redis.epoch):
        return foul(after, '1: a result was accepted that another owner was to give')
    return after
