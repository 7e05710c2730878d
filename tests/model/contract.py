# SPDX-License-Identifier: Apache-2.0
"""The store's half of the delivery contract: one pure function per script.

Each function is one row of the table in docs/delivery.md: it takes the store
as it is and gives back the store as it becomes, and the answer. Nothing here
knows workers, brokers or time; that is actors.py. What a real store has and
the contract does not lean on (results, progress, pull) is left out. Groups are
in groups.py.

RULES names what the contract rests on. Every function is given the set of
rules in force, so that a test can take one out and see what breaks.
"""

from typing import NamedTuple, Optional

RULES = {
    # the store
    'accept_never_creates': 'accept of a record that is missing answers gone, it does not make one',
    'unconfirmed_not_counted': 'a record counts only from accept, outbox or claim on',
    'claim_counts_unconfirmed': 'the claim of an unconfirmed record counts it and takes its TTL away',
    'idempotency_waits': 'a repeated key is told 202 only when the first job is accepted',
    'fence_own_field': 'the fence is a field of its own, not the attempt number',
    'fence_from_time': 'a new fence is above the server time, not just above the old fence',
    'epoch_from_time': 'a new epoch is above the server time, not just above the old epoch',
    'older_epoch_recreates': 'a claim makes a missing record anew when the message is of an older epoch',
    'same_epoch_is_gone': 'a claim that misses a record of its own epoch answers gone',
    'later_not_run': 'a claim of a retrying job that is not due answers later',
    'claim_knows_itself': 'a claim repeated by the same owner with the same copy answers mine',
    'ask_twice': 'the same copy in other hands is asked a second time before the job is taken over',
    'terminal_stays': 'a settle never moves a record that is terminal',
    'settle_checks_fence': 'a settle with another fence is refused',
    'hold_recreates': 'renew, settle and drain of an older epoch make a missing record anew',
    'settle_accepts_rollback': 'they are accepted, too, by a live record with a lower fence',
    'replayed_finish_wins': 'a replayed finish is accepted by any live record, and by an older failure',
    'drain_keeps_fence': 'drain leaves the fence in the record',
    'cancel_leaves_tombstone': 'a replayed cancel of a missing record makes it, cancelled',
    'outbox_done_by_entry': 'the relay forgets the entry it published, not a newer one of the same job',
    # the clients
    'ack_after_settle': 'a delivery is acked after the job is settled, not when it is claimed',
    'successor_before_ack': 'a successor copy is confirmed before the delivery is acked',
    'transition_before_publish': 'a retry is written to the store before its copy is published',
    'defer_duplicates': 'a delivery of a job that others hold is deferred, not dropped',
    'stale_claims_again': 'a worker that is told stale claims again, it does not ack',
    'copy_new_per_publish': 'each publish carries a new copy id',
    'detach': 'an owner that lost its delivery says so',
    'detach_retold': 'it says so again on a new epoch',
    'accept_after_confirm': 'the gateway accepts, and tells 202, after the confirm',
    'accept_before_told': 'the gateway tells 202 after accept said yes, not after the confirm alone',
    'retry_outbox_atomic': 'retry by a person writes the record and the outbox entry in one script',
    'relay_forgets_last': 'the relay forgets an entry after its copy is confirmed',
    'redo_ring': 'each client replays its last transitions on a new epoch',
    'replay_renews_ring': 'an entry stays in the ring for the whole window after its last replay',
    'claimed_end_in_ring': 'the end that a claim gave a job (lost too often, too late) is in the ring, too',
    'ring_keeps_answer': 'a fail that was the last is replayed as the last, whatever the counters say now',
    # groups (groups.py)
    'member_counts_once': 'a member counts in its parent only when it had no result yet',
    'parent_ends_by_state': 'the last member completes its parent only while that is in progress',
    'lost_members_made_again': 'a visit to a parent that was lost makes its members again',
    'cancelled_begins_anew': 'a visit makes a cancelled member of a live parent again',
    'visits_see_ended': 'a visit counts what members did before their lost parent was back',
    'members_count_early': 'a member that completes before its lost parent is back counts, too',
    'remade_waits': 'a member made from its message runs, though its parent is missing',
    'visit_is_no_loss': 'a claim of a parent between two visits counts no loss',
    'split_in_ring': 'a split is in the ring',
    'member_cancel_in_ring': 'so is the cancel of a member whose parent has ended',
    # the reconciler
    'overdue_republished': 'a retrying job whose copy the ladder lost is put into the outbox again',
}

ATTEMPTS_MAX = 2   # transient errors: the second one fails the job
LOSSES_MAX = 1     # lost owners: the second one fails the job

COLUMNS = ('accepted', 'pending', 'in-progress', 'retrying', 'completed', 'failed', 'cancelled')
TERMINAL = ('completed', 'failed', 'cancelled')
LIVE = ('pending', 'in-progress', 'retrying')


class Record(NamedTuple):
    state: str = 'unconfirmed'
    counted: bool = False
    fence: int = 0
    copy: int = 0
    owner: int = 0
    lease: bool = False      # not over
    detached: bool = False
    errors: int = 0
    losses: int = 0
    due: bool = True         # next_attempt_at has come
    kept: bool = False       # in:ID holds the input
    late: bool = False       # the deadline has passed
    remade: bool = False     # was lost, and made again by what a client knew
    split: bool = False      # a parent that has members


class Group(NamedTuple):
    """A parent's members, by number; groups.py."""
    window: int              # how many may be open
    sealed: tuple[int, ...]  # fence of the result that counts, 0 for none
    known: bool = False      # split has run
    round: int = 0           # how often a person has retried it
    next: int = 0            # all below were let go in this round
    open: frozenset = frozenset()
    done: int = 0            # how many have counted


class Redis(NamedTuple):
    """Everything that one Redis loses together; time and epoch go only up."""
    epoch: int
    clock: int
    records: tuple[Optional[Record], ...]
    outbox: tuple[int, ...]  # per job: the number of its entry, 0 for none
    counts: tuple[int, ...]  # COLUMNS
    group: Optional[Group] = None


def empty(jobs: int, epoch: int = 1, clock: int = 0) -> Redis:
    return Redis(epoch, clock, (None,) * jobs, (0,) * jobs, (0,) * len(COLUMNS))


def put(items: tuple, at: int, value) -> tuple:
    return items[:at] + (value,) + items[at + 1:]


def column(record: Optional[Record]) -> Optional[str]:
    """Where the record is counted; None while it is not."""
    if record is None or not record.counted:
        return None
    return 'pending' if record.state == 'unconfirmed' else record.state


def move(redis: Redis, job: int, after: Record) -> Redis:
    """The one way a record changes: its counters move with it, and only what is in progress has an owner."""
    if after.state != 'in-progress':
        after = after._replace(owner=0, copy=0, lease=False, detached=False)
    counts = list(redis.counts)
    old, new = column(redis.records[job]), column(after)
    if old:
        counts[COLUMNS.index(old)] -= 1
    elif new:
        counts[0] += 1
    if new:
        counts[COLUMNS.index(new)] += 1
    return redis._replace(records=put(redis.records, job, after), counts=tuple(counts))


# ---- gateway ---------------------------------------------------------------

def create(redis, rules, job):
    record = redis.records[job]
    if record is None:
        return move(redis, job, Record(counted='unconfirmed_not_counted' not in rules)), 'ok'
    if record.state != 'unconfirmed' or 'idempotency_waits' not in rules:
        return redis, 'accepted'        # the key's job: 202 at once
    return redis, 'ok'                  # publish the same id, wait for an own confirm


def accept(redis, rules, job, epoch):
    record = redis.records[job]
    if record is None:
        if 'accept_never_creates' not in rules:
            return move(redis, job, Record('pending', True)), 'ok'
        return redis, 'gone' if epoch == redis.epoch else 'ok'
    if record.state == 'unconfirmed':
        redis = move(redis, job, record._replace(state='pending', counted=True))
    return redis, 'ok'


def enter(redis, job):
    """A new outbox entry; its number tells it from an older one of the job."""
    return redis._replace(clock=redis.clock + 1, outbox=put(redis.outbox, job, redis.clock + 1))


def outbox(redis, rules, job, epoch):
    record = redis.records[job]
    if record is None and epoch == redis.epoch:
        return redis, 'gone'
    if record is None or record.state == 'unconfirmed':
        redis = enter(move(redis, job, (record or Record())._replace(state='pending', counted=True)), job)
    return redis, 'ok'                  # counted already: it has a message


def outbox_done(redis, rules, job, entry):
    if redis.outbox[job] == entry or 'outbox_done_by_entry' not in rules:
        redis = redis._replace(outbox=put(redis.outbox, job, 0))
    return redis


def cancel(redis, rules, job, replayed=False):
    record = redis.records[job]
    if record is None:
        if replayed and 'cancel_leaves_tombstone' in rules:
            return move(redis, job, Record('cancelled', True)), 'ok'
        return redis, 'gone'
    if record.state in TERMINAL:
        return redis, 'refused'
    return move(redis, job, record._replace(state='cancelled', counted=True)), 'ok'


def retry(redis, rules, job):
    record = redis.records[job]
    if record is None or record.state != 'failed' or not record.kept:
        return redis, 'refused'
    redis = move(redis, job, record._replace(state='pending', errors=0, losses=0, due=True))
    return (enter(redis, job) if 'retry_outbox_atomic' in rules else redis), 'ok'


# ---- worker ----------------------------------------------------------------

def claim(redis, rules, message, owner, second):
    """Answers run, mine (with the fence), terminal (with the fence of a job that this claim ended), gone,
    later, held or ask."""
    job, record = message.job, redis.records[message.job]
    if record is None:
        same = message.epoch == redis.epoch and 'same_epoch_is_gone' in rules
        if same or 'older_epoch_recreates' not in rules:
            return redis, 'gone', 0
        record = Record('pending', True)
    if record.state in TERMINAL:
        return redis, 'terminal', 0
    if record.state == 'retrying' and not record.due and 'later_not_run' in rules:
        return redis, 'later', 0
    if record.state == 'in-progress':
        same = message.copy == record.copy
        if same and owner == record.owner and 'claim_knows_itself' in rules:
            return redis, 'mine', record.fence
        if record.lease and (not same or record.detached):
            return redis, 'held', 0
        if record.lease and 'ask_twice' in rules and not second:
            return redis, 'ask', 0
        record = record._replace(losses=record.losses + 1)
    fence = redis.clock + 1
    if not {'fence_from_time', 'fence_own_field'} <= rules:
        fence = record.fence + 1
    if record.losses > LOSSES_MAX or record.late and record.state != 'in-progress':
        record = record._replace(state='failed', counted=True, fence=fence, kept=True)
        return move(redis._replace(clock=redis.clock + 1), job, record), 'terminal', fence
    counted = record.counted or 'claim_counts_unconfirmed' in rules
    record = record._replace(state='in-progress', counted=counted, fence=fence, copy=message.copy, owner=owner,
                             lease=True, detached=False, due=True)
    return move(redis._replace(clock=redis.clock + 1), job, record), 'run', fence


def hold(redis, rules, job, fence, claimed, owner, copy):
    """The record as this claim left it, or None and the answer: whose is the job?

    After a Redis loss the claim itself may be what was lost. Then the record is
    missing, or older than the claim (its fence is lower), and is taken as ours.
    """
    record, older = redis.records[job], claimed < redis.epoch
    ours = Record('in-progress', True, fence, copy, owner, remade=redis.group is not None)
    if record is None:
        return (ours, '') if older and 'hold_recreates' in rules else (None, 'gone')
    if record.state == 'cancelled' and 'terminal_stays' in rules:
        return None, 'cancelled'
    if record.fence == fence or 'settle_checks_fence' not in rules and record.state == 'in-progress':
        return record, ''
    if older and record.state not in TERMINAL and record.fence < fence and 'settle_accepts_rollback' in rules:
        return ours._replace(errors=record.errors, losses=record.losses, remade=record.remade, split=record.split), ''
    return None, 'stale'


def renew(redis, rules, job, fence, claimed, owner, copy, detached):
    record, answer = hold(redis, rules, job, fence, claimed, owner, copy)
    if record is None or record.state != 'in-progress':
        return redis, answer or 'stale'
    return move(redis, job, record._replace(lease=True, detached=detached)), 'ok'


def settle(redis, rules, job, fence, claimed, outcome, replayed=False):
    """finish and fail. outcome: completed, permanent, error (transient) or loss (of the executor)."""
    record, answer = hold(redis, rules, job, fence, claimed, 0, 0)
    before = redis.records[job]
    if answer == 'stale' and replayed and outcome == 'completed' and 'replayed_finish_wins' in rules:
        if before.state not in TERMINAL or before.state == 'failed' and before.fence < fence:
            record = before._replace(state='in-progress', fence=fence)
    if record is None:
        return redis, answer
    if record.state in ('completed', 'failed', 'retrying'):
        return redis, {'completed': 'ok'}.get(record.state, record.state)     # the first answer again
    if record.state == 'pending':
        return redis, 'stale'           # drained, or retried by a person
    if outcome == 'completed':
        return move(redis, job, record._replace(state='completed', counted=True)), 'ok'
    record = record._replace(errors=record.errors + (outcome == 'error'), losses=record.losses + (outcome == 'loss'),
                             counted=True, kept=True)
    if outcome == 'permanent' or record.errors >= ATTEMPTS_MAX or record.losses > LOSSES_MAX:
        return move(redis, job, record._replace(state='failed')), 'failed'
    return move(redis, job, record._replace(state='retrying', due=False)), 'retrying'


def drain(redis, rules, job, fence, claimed):
    record, answer = hold(redis, rules, job, fence, claimed, 0, 0)
    if record is None or record.state != 'in-progress':
        return redis, answer or 'stale'
    if 'fence_own_field' not in rules:
        fence -= 1                      # the attempt number, which drain does not spend
    if 'drain_keeps_fence' not in rules:
        fence = 0
    return move(redis, job, record._replace(state='pending', fence=fence)), 'ok'


# ---- reconciler, time and bad days -----------------------------------------

def vanish(redis, job):
    """A TTL ran out: no script runs, no counter moves."""
    return redis._replace(records=put(redis.records, job, None))


def lose(redis, rules, snapshot):
    """Redis comes back as the snapshot, or empty, and the first client boots it into a new epoch."""
    base = snapshot or empty(len(redis.records), 0)
    epoch = redis.epoch + 1 if 'epoch_from_time' in rules else base.epoch + 1
    return base._replace(epoch=epoch, clock=redis.clock)


def replay(redis, rules, entry):
    """One entry of a redo ring: a transition of its client that an older epoch had confirmed."""
    script, job, *rest = entry
    if script == 'settle':
        return settle(redis, rules, job, *rest, replayed=True)[0]
    if script == 'cancel':
        return cancel(redis, rules, job, replayed=True)[0]
    if script == 'retry':
        return retry(redis, rules, job)[0]
    return {'accept': accept, 'outbox': outbox}[script](redis, rules, job, 0)[0]
