# SPDX-License-Identifier: Apache-2.0
"""The fleets that are explored: what holds, what each rule is for, and what is known not to hold.

STANDARD  small fleets on bad days; no rule of explore.judge is ever broken
NEEDED    for each rule of the contract the smallest bad day that breaks
          without it, and the first letter of what breaks
TOGETHER  rules of which the model needs one of two: it breaks without both
LARGE     as STANDARD, minutes each: by explore.py --large
LIMITS    bad days that break the contract as it stands; README.md says why
          they are accepted

Not shown by this model, and so not claimed by it:
- `relay skips what has ended`: a copy too many is harmless, its claim says terminal.
- `a settle knows its own fence` when its reply was lost: the repeat is told stale, claims again and
  is told terminal or later. (What the rule saves is the executor's output, which is not modelled.)
- `each publish carries the newest epoch`: its use lies in retention after a Redis loss, which LIMITS
  breaks anyway.
- `accept says ok where an older epoch lost the record`: gone would be a needless 503, not a loss.
- clients' groups: their scripts take no part in who may claim, settle or ack, but that a cancelled group cancels its
  members at their claim, as a product that has ended does its tiles, which is modelled. Their books move in the script
  that moves the member, under its guards, so that a history that counts twice would end a job twice. What they are
  after losses and replays is in tests/behave/test_store_sets.py, where the books are audited behind each test.
- Redis full, byte bounds, pull, dead queue, delivery limits, x-death: not in the model.
"""

from world import Scenario

ROLLBACK = {'roll back redis': 1}
FLUSH = {'flush redis': 1}

STANDARD = {
    'nothing goes wrong': Scenario({}, 0, requests=(0, 1)),
    'two jobs, a worker is lost': Scenario({'crash worker': 1, 'lose channel': 1}, 1, requests=(0, 1)),
    'workers crash': Scenario({'crash worker': 2, 'lose channel': 1}, 2),
    'submit': Scenario({'crash gateway': 1, 'refuse publish': 1, 'lose confirm': 1, 'lose reply': 1,
                        'expire unconfirmed': 1}, 2),
    'one key, two requests': Scenario({'crash gateway': 1, 'refuse publish': 1, 'lose confirm': 1}, 1, requests=(0, 0)),
    'broker': Scenario({'crash broker': 1, 'lose channel': 1, 'lose confirm': 1, 'run lease over': 1}, 2),
    'client': Scenario({'cancel': 1, 'retry': 1, 'permanent error': 1, 'expire record': 1, 'lose confirm': 1,
                        'pass deadline': 1}, 3),
    'errors': Scenario({'transient error': 2, 'lose executor': 1, 'lose reply': 1, 'crash worker': 1}, 2),
    'drain': Scenario({'drain': 2, 'run lease over': 1, 'lose confirm': 1}, 3),
    'ladder of classic queues': Scenario({'transient error': 2, 'lose ladder copy': 1, 'crash worker': 1}, 3),
    'rollback, workers': Scenario({**ROLLBACK, 'crash worker': 1, 'lose channel': 1}, 2),
    'rollback, gateway': Scenario({**ROLLBACK, 'refuse publish': 1, 'cancel': 1, 'crash gateway': 1}, 2),
    'rollback, failure and retry': Scenario({**ROLLBACK, 'permanent error': 1, 'retry': 1}, 3),
    'rollback, backoff': Scenario({**ROLLBACK, 'transient error': 1}, 2),
    'rollback, drain': Scenario({**ROLLBACK, 'drain': 1, 'lose channel': 1}, 3),
    'rollback, deadline': Scenario({**ROLLBACK, 'pass deadline': 1}, 2),
    'total loss, workers': Scenario({**FLUSH, 'crash worker': 1, 'lose channel': 1}, 2),
    'total loss, gateway': Scenario({**FLUSH, 'cancel': 1, 'refuse publish': 1, 'lose confirm': 1}, 2),
    'total loss, drain and retry': Scenario({**FLUSH, 'drain': 1, 'permanent error': 1, 'retry': 1}, 3),
    'Redis is lost twice': Scenario({'roll back redis': 2, 'flush redis': 1}, 2),
    'group': Scenario({'crash worker': 1, 'lose channel': 1}, 1, members=2),
    'group, one at a time': Scenario({'crash worker': 1, 'lose channel': 1}, 2, members=3, window=1, workers=1),
    'group, cancel': Scenario({'cancel': 1, 'lose channel': 1}, 2, members=2, workers=1),
    'group, drain': Scenario({'drain': 2, 'lose reply': 1}, 2, members=2, workers=1),
    'group, members fail': Scenario({'transient error': 2, 'lose executor': 2}, 2, members=2, workers=1),
    'group, total loss': Scenario({**FLUSH, 'permanent error': 1}, 2, members=2, workers=1),
    'group, total loss, cancel': Scenario({**FLUSH, 'cancel': 1}, 2, members=1, workers=1),
    'group, total loss, a worker, too': Scenario({**FLUSH, 'crash worker': 1}, 2, members=1, workers=1),
    'group, rollback': Scenario(ROLLBACK, 1, members=2, workers=1),
    'group, rollback, failure': Scenario({**ROLLBACK, 'permanent error': 1}, 2, members=1, workers=1),
    'group, rollback, a worker, too': Scenario({**ROLLBACK, 'crash worker': 1}, 2, members=1, workers=1),
    'group, Redis is lost twice': Scenario({'roll back redis': 1, 'flush redis': 1}, 2, members=1, workers=1),
}

NEEDED = {
    'accept_never_creates': ('N', Scenario({'expire record': 1}, 1)),
    'unconfirmed_not_counted': ('E', Scenario({'expire unconfirmed': 1}, 1)),
    'claim_counts_unconfirmed': ('N', Scenario({'expire unconfirmed': 1}, 1)),
    'idempotency_waits': ('N', Scenario({'refuse publish': 1, 'crash gateway': 1}, 1, requests=(0, 0))),
    'fence_own_field': ('1', Scenario({'drain': 1}, 1)),
    'fence_from_time': ('1', Scenario({**FLUSH, 'lose confirm': 1}, 2)),
    'epoch_from_time': ('N', Scenario(FLUSH, 1)),
    'older_epoch_recreates': ('N', Scenario(FLUSH, 1)),
    'same_epoch_is_gone': ('1', Scenario({'expire record': 1, 'lose confirm': 1}, 2)),
    'later_not_run': ('B', Scenario({'transient error': 1}, 1)),
    'claim_knows_itself': ('L', Scenario({'lose reply': 1}, 1)),
    'ask_twice': ('L', Scenario({'lose channel': 1}, 1)),
    'terminal_stays': ('C', Scenario({'cancel': 1}, 1)),
    'settle_checks_fence': ('1', Scenario({'run lease over': 1, 'lose channel': 1}, 2)),
    'hold_recreates': ('N', Scenario({**FLUSH, 'lose channel': 1}, 2)),
    'settle_accepts_rollback': ('N', Scenario({**ROLLBACK, 'permanent error': 1}, 2)),
    'replayed_finish_wins': ('1', Scenario({**ROLLBACK, 'lose channel': 1}, 2)),
    'cancel_leaves_tombstone': ('C', Scenario({**FLUSH, 'cancel': 1}, 2)),
    'outbox_done_by_entry': ('N', Scenario({'lose confirm': 1, 'permanent error': 1, 'retry': 1}, 3)),
    'ack_after_settle': ('N', Scenario({'crash worker': 1}, 1)),
    'successor_before_ack': ('N', Scenario({'crash worker': 1, 'transient error': 1}, 2)),
    'defer_duplicates': ('N', Scenario({'lose channel': 1, 'crash worker': 1}, 2)),
    'copy_new_per_publish': ('L', Scenario({'lose confirm': 1}, 1)),
    'detach': ('L', Scenario({'lose channel': 1}, 1)),
    'detach_retold': ('L', Scenario({**ROLLBACK, 'lose channel': 1}, 2)),
    'accept_after_confirm': ('N', Scenario({'refuse publish': 1}, 1)),
    'accept_before_told': ('N', Scenario({'expire unconfirmed': 1}, 1)),
    'retry_outbox_atomic': ('N', Scenario({'permanent error': 1, 'retry': 1, 'crash gateway': 1}, 3)),
    'relay_forgets_last': ('N', Scenario({'refuse publish': 1, 'crash gateway': 1}, 2)),
    'redo_ring': ('N', Scenario(ROLLBACK, 1)),
    'replay_renews_ring': ('N', Scenario({'roll back redis': 2}, 2)),
    'claimed_end_in_ring': ('N', Scenario({**ROLLBACK, 'pass deadline': 1}, 2)),
    'ring_keeps_answer': ('N', Scenario({**ROLLBACK, 'transient error': 2}, 3)),
    'member_counts_once': ('G', Scenario({'permanent error': 1, 'retry': 1}, 2, members=2)),
    'parent_ends_by_state': ('G', Scenario({'cancel': 1}, 1, members=2, workers=1)),
    'lost_members_made_again': ('N', Scenario(FLUSH, 1, members=1, workers=1)),
    'visits_see_ended': ('N', Scenario({**FLUSH, 'permanent error': 1}, 2, members=1)),
    'visit_is_no_loss': ('G', Scenario({}, 0, members=1, workers=1)),
    'split_in_ring': ('N', Scenario(ROLLBACK, 1, members=1, workers=1)),
    'member_cancel_in_ring': ('N', Scenario({**ROLLBACK, 'cancel': 1}, 2, members=1, workers=1)),
    'overdue_republished': ('T', Scenario({'transient error': 1, 'lose ladder copy': 1}, 2)),
}

TOGETHER = {
    ('transition_before_publish', 'defer_duplicates'): ('N', Scenario({'transient error': 1}, 1)),
    ('drain_keeps_fence', 'fence_from_time'): ('1', Scenario({'drain': 1}, 1)),
    ('members_count_early', 'visits_see_ended'): ('N', Scenario(FLUSH, 1, members=1)),
    ('remade_waits', 'cancelled_begins_anew'): ('T', Scenario(FLUSH, 1, members=1)),
    ('stale_claims_again', 'settle_accepts_rollback'): ('N', Scenario(ROLLBACK, 1)),
}

LARGE = {
    'large group, cancel': Scenario({'cancel': 1, 'lose channel': 1}, 2, members=2),
    'large group, total loss': Scenario(FLUSH, 1, members=2),
    'large group, total loss, a worker, too': Scenario({**FLUSH, 'crash worker': 1}, 2, members=2, workers=1),
    'large group, total loss, two workers, one crashes': Scenario({**FLUSH, 'crash worker': 1}, 2, members=1),
    'large group, rollback': Scenario(ROLLBACK, 1, members=2),
    'large group, rollback, two workers, a failure': Scenario({**ROLLBACK, 'permanent error': 1}, 2, members=1),
    'large group, rollback, cancel': Scenario({**ROLLBACK, 'cancel': 1}, 2, members=2, workers=1),
    'large group, rollback, failure': Scenario({**ROLLBACK, 'permanent error': 1}, 2, members=2, workers=1),
    'large group, rollback, a worker, too': Scenario({**ROLLBACK, 'crash worker': 1}, 2, members=2, workers=1),
}

LIMITS = {
    'a copy outlives the retention of its ended job and a restart of Redis': (
        '1', Scenario({**ROLLBACK, 'expire record': 1, 'lose confirm': 1}, 3)),
    'a message outlives the retention of its cancelled job and a restart of Redis': (
        'C', Scenario({**ROLLBACK, 'expire record': 1, 'cancel': 1}, 3)),
}
