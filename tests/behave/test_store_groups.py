# SPDX-License-Identifier: Apache-2.0
"""Groups in the store: each guard and each answer of split, and of what members do to their parent."""

import json
import uuid

import pytest

from store_scripts import (  # noqa: F401  (some are fixtures)
    CHECK, DAY, KIND, Group, Job, expire_lease, finish_member, group, server, store)

# ---- the life of a group --------------------------------------------------------

def test_a_group_lives_from_split_to_the_result_of_all_members(store, group):
    lease = group.visit()
    assert group.split(lease, layout='{"rows":3}') == ["retrying", 32000]
    record = group.record()
    assert (record["state"], record["total"], record["done"], record["layout"]) == ("in-progress", "3", "0", '{"rows":3}')
    assert "owner" not in record and "lease" not in record and "bytes" not in record
    members = group.relay()
    assert sorted(members) == [0, 1, 2]
    fences = {n: finish_member(store, members[n], bound).fence for n, bound in ((2, 0.25), (0, 0.5), (1, 0.125))}
    record = group.record()
    assert (record["state"], record["done"], record["progress"]) == ("completed", "3", "1")
    assert (record["type"], record["bytes"], record["verified"]) == ("application/x-npy", "4000", CHECK % 0.5)
    assert record["started"] == str(lease.started) and int(record["finished"]) >= lease.started
    assert [int(f) for f in store.call("get", group.parent.id, 0, 1)[2]] == [fences[n] for n in range(3)]
    assert not store.r.exists(f"in:{group.parent.id}", f"open:{group.parent.id}")
    for key in ("job:", "group:", "sealed:"):
        assert 0 < store.ttl(key + group.parent.id) <= DAY
    assert store.claim(group.parent, "w1", copy="later") == "terminal"
    assert store.stats()["jobs"]["accepted"] == store.stats()["jobs"]["completed"] == 4


def test_members_carry_the_parents_message_but_for_what_is_their_own(store, group):
    group.split()
    _, _, *items = store.call("outbox_take", 100)
    lines = [packed.split("\n", 1) for packed in items[1::2]]
    for line, body in lines:
        message = json.loads(line)
        assert body == "@MEMBER@" and message["content_type"] == "@MEMBER@"
        assert message["params"] == '{"tile":%d}' % message["member"]
        assert abs(message["created"] - store.now()) < 10_000
        assert message["id"][:13] == group.parent.id[:13] and uuid.UUID(message["id"]).version == 8
        assert uuid.UUID(message["id"]).variant == uuid.RFC_4122 and message["id"] == message["id"].lower()


def test_the_check_of_a_group_is_the_largest_bound_and_all_that_was_not_checked(store):
    group = Group(store, 4)
    group.split()
    members = group.relay()
    for number, check in enumerate(("0.25", '1e-9,"unchecked":3', '0.5,"unchecked":40', "0.125")):
        finish_member(store, members[number], check=CHECK % check)
    assert group.record()["verified"] == CHECK % '0.5,"unchecked":43'


def test_progress_is_the_share_of_members_that_are_done(store):
    group = Group(store, 4)
    group.split()
    finish_member(store, group.relay()[3])
    assert (group.record()["progress"], group.record()["done"]) == ("0.25", "1")


def test_no_more_members_are_let_go_than_the_fleet_takes_soon(store):
    group = Group(store, 20)
    group.split()
    members = group.relay()
    assert sorted(members) == [0, 1, 2, 3]
    finish_member(store, members[1])
    assert sorted(group.relay()) == [4]
    store.call("beat", "w1", '{"slots":2,"busy":1}', "")
    store.call("beat", "w2", '{"slots":1}', "")
    store.call("beat", "odd", "no json", "")
    group.split()
    assert sorted(group.relay()) == [5, 6]
    group.split()
    assert group.relay() == {}
    store.call("leave", "odd")


def test_gateways_hear_of_new_outbox_entries(store, group):
    heard = store.r.pubsub(ignore_subscribe_messages=True)
    heard.subscribe("millrace:outbox")
    assert heard.get_message(timeout=5) is None
    group.split()
    assert heard.get_message(timeout=5)
    group.split()
    store.r.publish("millrace:outbox", "mark")
    assert heard.get_message(timeout=5)["data"] == b"mark"
    heard.close()


# ---- visits ------------------------------------------------------------------------

def test_a_visit_costs_neither_attempt_nor_loss_and_keeps_what_is_shown(store, group):
    first = group.visit()
    group.split(first)
    finish_member(store, group.relay()[0])
    before = group.record()
    second = group.visit("w3")
    assert second.fence > first.fence
    assert (second.attempt, second.errors, second.started) == (first.attempt, 0, first.started)
    assert store.claim(group.parent, "w4", copy="other")[0] == "held"
    assert group.split(second) == ["retrying", 32000]
    after = group.record()
    for record in (before, after):
        record.pop("fence"), record.pop("copy")
    assert before == after
    assert group.split(first) == "stale"


def test_a_visit_that_renews_does_not_touch_the_progress_of_the_group(store, group):
    first = group.visit()
    assert store.renew(first, 0.125) == "ok" and group.record()["progress"] == "0.125"
    group.split(first)
    finish_member(store, group.relay()[0])
    lease = group.visit()
    assert store.renew(lease, 0, away=1, lease_ms=70_000) == "ok"
    record = group.record()
    assert (record["progress"], record["away"]) == ("0.3333", "1") and int(record["lease"]) > store.now() + 60_000


def test_errors_before_a_split_are_not_those_of_the_group(store, group):
    store.fail(group.visit(), wait=0)
    lease = group.visit()
    assert lease.errors == 1
    group.split(lease)
    assert group.record()["errors"] == "0" and group.visit().errors == 0


def test_a_visit_that_was_lost_is_a_loss_until_the_next_one_succeeds(store, group):
    group.split()
    group.visit()
    expire_lease(store, group.parent)
    lease = group.visit("w2")
    assert group.record()["losses"] == "1" and lease.attempt == 1
    assert group.split(lease)[0] == "retrying"
    assert group.record()["losses"] == "0"


def test_a_visit_that_is_lost_again_and_again_fails_the_group(store, group):
    group.split()
    for _ in range(3):
        group.visit()
        expire_lease(store, group.parent)
    assert store.claim(group.parent, "w9", copy="c") == "pack"
    assert store.claim(group.parent, "w9", copy="c", packed=b"p")[0] == "terminal"
    assert group.state() == "failed" and store.ttl(f"group:{group.parent.id}") > 0


def test_a_visit_that_hands_back_leaves_the_group_as_it_is(store, group):
    group.split()
    before = group.record()
    lease = group.visit()
    assert store.drain(lease) == store.drain(lease) == "ok"
    after = group.record()
    assert after["state"] == "in-progress" and after["started"] == before["started"] and "owner" not in after
    assert group.visit("w5").attempt == 1


def test_a_split_that_is_repeated_changes_nothing(store, group):
    lease = group.visit()
    assert group.split(lease) == group.split(lease) == ["retrying", 32000]
    assert sorted(group.relay()) == [0, 1, 2]
    assert group.split(lease)[0] == "retrying"
    assert group.relay() == {}


def test_the_first_split_decides_the_shape(store, group):
    group.split(layout="first")
    first, group.packed = group.packed, b'{"params":"another cut"}\nbody'
    assert group.split(total=7, layout="second") == ["retrying", 32000, "other"]
    assert group.record()["total"] == "3" and group.record()["layout"] == "first"
    assert store.r.get(f"in:{group.parent.id}") == first and group.record()["input"] == "1"
    group.packed = b'{"params":"the same cut"}\nbody'
    assert group.split(layout="first") == ["retrying", 32000]
    assert store.r.get(f"in:{group.parent.id}") == group.packed
    assert sorted(group.relay()) == [0, 1, 2]


def test_what_says_another_cut_is_never_kept_for_a_retry(store, group):
    retried(store, group)
    assert group.split(layout="other")[2:] == ["other"]
    assert group.record()["input"] == "0" and not store.r.exists(f"in:{group.parent.id}")
    group.split()
    assert group.record()["input"] == "1" and store.r.get(f"in:{group.parent.id}") == group.packed


def test_split_has_the_guard_of_every_owners_call(store):
    cancelled, drained, gone, stale = (Group(store) for _ in range(4))
    leases = [g.visit() for g in (cancelled, drained, gone, stale)]
    store.cancel(cancelled.parent)
    store.drain(leases[1])
    store.finish(leases[2])
    store.r.delete(f"job:{gone.parent.id}", f"done:{KIND}")
    expire_lease(store, stale.parent)
    stale.visit("w7")
    answers = [g.split(lease) for g, lease in zip((cancelled, drained, gone, stale), leases)]
    assert answers == ["cancelled", "stale", "gone", "stale"]


def test_split_of_a_parent_that_has_ended_meanwhile_is_ok(store, group):
    lease = group.visit()
    group.split(lease)
    members = group.relay()
    visit = group.visit()
    for job in members.values():
        finish_member(store, job)
    assert group.state() == "completed"
    assert group.split(visit) == "ok"


def test_a_parent_may_end_in_one_piece_after_all(store, group):
    group.split()
    lease = group.visit()
    assert store.finish(lease, b"", 0, "", "whole", 77) == "ok"
    record = group.record()
    assert record["blob"] == "whole" and "total" not in record and "layout" not in record
    assert store.call("get", group.parent.id, 0, 1)[2] is None
    assert not store.r.exists(f"in:{group.parent.id}")


# ---- members ------------------------------------------------------------------------

def test_a_member_counts_once(store, group):
    group.split()
    members = group.relay()
    lease = finish_member(store, members[0])
    assert store.finish(lease) == "ok"
    assert group.record()["done"] == "1"
    other = Job(store, parent=group.parent.id, member=0)
    other.epoch = "0"
    assert store.claim(other)[:1] == ["terminal"], "there is a result of it"
    assert group.sealed() == {0: lease.fence}


@pytest.mark.parametrize("number", [3, -1])
@pytest.mark.parametrize("is_early", [True, False])
def test_a_number_that_the_group_has_not_does_not_count(store, group, number, is_early):
    stranger = Job(store, parent=group.parent.id, member=number)
    stranger.epoch = "0"
    lease = store.leased(stranger)
    if not is_early:
        group.split()
    assert store.finish(lease, b"", 0, "", "b", 1) == "ok"
    group.split(sealed=[(number, 1)])
    assert group.sealed() == {} and group.record()["done"] == "0"


def test_a_member_that_fails_for_good_fails_its_parent(store, group):
    group.split()
    members = group.relay()
    running = store.leased(members[2])
    assert store.fail(store.leased(members[1]), "transient", wait=0) == "retrying"
    assert group.state() == "in-progress"
    assert store.fail(store.leased(members[1], copy="2"), "permanent", code="overflow", detail="too large") == "failed"
    record = group.record()
    assert (record["state"], record["code"]) == ("failed", "overflow")
    assert record["detail"] == "member 1 failed: too large" and record["input"] == "1"
    assert store.r.get(f"in:{group.parent.id}") == group.packed and store.kept() == len(group.packed)
    assert not store.r.exists(f"in:{members[1].id}")
    assert store.record(members[1])["input"] == "0"
    assert store.renew(running) == "cancelled"
    assert store.state(members[2]) == "cancelled"
    answer = store.claim(members[0], "w1")
    assert answer[0] == "terminal" and answer[5] == "cancelled"
    assert store.claim(members[0], "w1") == "terminal"
    states = store.stats()["jobs"]
    assert (states["failed"], states["cancelled"], states["accepted"]) == (2, 2, 4)


def test_the_input_of_a_failed_group_is_kept_within_the_bound(store, group):
    group.split()
    store.fail(store.leased(group.relay()[0]), "permanent", kept_max=5)
    assert group.record()["input"] == "0" and store.kept() == 0
    assert not store.r.exists(f"in:{group.parent.id}")
    assert store.call("retry", group.parent.id) == "no-input"


def test_a_member_that_is_lost_too_often_fails_its_parent(store, group):
    group.split()
    member = group.relay()[1]
    store.leased(member)
    expire_lease(store, member)
    answer = store.claim(member, "w2", losses_max=0)
    assert answer[0] == "terminal" and answer[5] == "lost", "no message has to be kept for it"
    record = group.record()
    assert (record["state"], record["code"]) == ("failed", "lost") and record["detail"].startswith("member 1 failed: ")


@pytest.mark.parametrize("state", ["pending", "in-progress", "retrying"])
def test_members_of_a_cancelled_parent_are_cancelled_at_their_claim(store, group, state):
    group.split()
    member = group.relay()[0]
    if state != "pending":
        lease = store.leased(member)
    if state == "retrying":
        store.fail(lease)
    assert store.cancel(group.parent)[0] == "ok"
    assert store.claim(member, "w9", copy="another")[0] == "terminal"
    assert store.state(member) == "cancelled" and not store.r.exists(f"in:{member.id}")
    if state == "in-progress":
        assert store.renew(lease) == store.finish(lease) == "cancelled"


def test_a_member_whose_parent_has_ended_and_expired_is_cancelled(store, group):
    group.split()
    members = group.relay()
    store.cancel(group.parent)
    store.r.delete(*(key + group.parent.id for key in ("job:", "group:", "sealed:")))
    assert store.claim(members[0])[5] == "cancelled"


def test_what_a_member_brings_after_the_end_is_there_for_a_retry(store, group):
    group.split()
    members = group.relay()
    late = store.leased(members[0])
    store.fail(store.leased(members[1]), "permanent")
    assert store.finish(late, b"", 0, "", "b", 1) == "ok"
    assert group.sealed() == {0: late.fence} and group.state() == "failed"
    assert 0 < store.ttl(f"sealed:{group.parent.id}") <= DAY


def test_a_member_is_neither_cancelled_nor_retried_alone(store, group):
    group.split()
    members = group.relay()
    word, record = store.call("cancel", members[0].id, DAY)
    assert word == "refused" and record[record.index("parent") + 1] == group.parent.id
    store.fail(store.leased(members[0]), "permanent")
    assert store.call("retry", members[0].id)[0] == "refused"
    assert store.call("cancel", members[1].id, DAY)[0] == "ok", "its group has ended"
    assert store.claim(members[2])[5] == "cancelled"


# ---- retry by a person -----------------------------------------------------------------

def retried(store, group):
    group.split()
    members = group.relay()
    done = finish_member(store, members[0])
    store.fail(store.leased(members[1]), "permanent")
    assert store.call("retry", group.parent.id)[0] == "ok"
    return members, done


def test_a_retried_group_keeps_its_results_and_makes_the_rest_again(store, group):
    old, done = retried(store, group)
    assert group.state() == "pending" and store.kept() == 0
    for key in ("job:", "group:", "sealed:"):
        assert store.ttl(key + group.parent.id) == -1
    lease = group.visit()
    assert lease.attempt == 2
    assert group.split(lease)[0] == "retrying"
    assert group.record()["done"] == "1"
    members = group.relay()
    assert sorted(members) == [1, 2]
    assert not {job.id for job in members.values()} & {job.id for job in old.values()}
    for job in members.values():
        finish_member(store, job)
    assert group.state() == "completed" and group.sealed()[0] == done.fence
    assert store.claim(old[2])[5] == "cancelled"


def test_a_member_of_an_older_round_is_stopped_and_cannot_fail_the_new_one(store, group):
    group.split()
    old = group.relay()
    running, failing = store.leased(old[2]), store.leased(old[0])
    store.fail(store.leased(old[1]), "permanent")
    store.call("retry", group.parent.id)
    group.split()
    assert store.renew(running) == "cancelled"
    assert store.fail(failing, "permanent") == "failed"
    assert group.state() == "in-progress"
    for job in group.relay().values():
        finish_member(store, job)
    assert group.state() == "completed"


def test_a_retry_of_a_retry_is_a_third_round(store, group):
    retried(store, group)
    group.split()
    second = group.relay()
    store.fail(store.leased(second[1]), "permanent")
    assert store.call("retry", group.parent.id)[0] == "ok"
    group.split()
    third = group.relay()
    assert sorted(third) == [1, 2] and third[1].id != second[1].id
    assert store.cancel(group.parent)[0] == "ok"
    for job in (*second.values(), *third.values()):
        store.claim(job)


# ---- bad days -----------------------------------------------------------------------------

def test_after_a_total_loss_the_parents_message_brings_the_group_back(store, group):
    group.split()
    before = group.relay()
    fences = [finish_member(store, before[n]).fence for n in (0, 1)]
    store.lose_all()
    lease = group.visit()
    assert group.split(lease, sealed=[(0, fences[0]), (1, fences[1])])[0] == "retrying"
    assert group.record()["done"] == "2" and group.sealed() == {0: fences[0], 1: fences[1]}
    after = group.relay()
    assert list(after) == [2] and after[2].id == before[2].id
    finish_member(store, before[2])
    assert group.state() == "completed" and group.sealed()[0] == fences[0]
    assert store.claim(after[2], copy="x") == "terminal"


def test_a_finish_that_is_said_again_after_its_blob_was_counted_brings_its_check(store, group):
    group.split()
    members = group.relay()
    first = finish_member(store, members[0], 3)
    store.lose_all()
    group.split(sealed=[(0, first.fence)])
    assert store.finish(first, b"", 0, CHECK % 3, "b", 1, replay=["ok"]) == "ok"
    assert group.sealed() == {0: first.fence}
    for number in (1, 2):
        finish_member(store, members[number])
    assert group.record()["verified"] == CHECK % 3


def test_split_with_all_results_there_completes_the_group(store, group):
    assert group.split(sealed=[(0, 11), (1, 22), (2, 33), (9, 99)]) == "ok"
    assert group.state() == "completed" and group.sealed() == {0: 11, 1: 22, 2: 33}
    assert store.call("get", group.parent.id, 0, 1)[2] == ["11", "22", "33"]


def test_results_by_the_blobs_count_only_while_the_group_is_made(store, group):
    group.split(sealed=[(0, 11)])
    group.split(sealed=[(0, 77), (1, 22)])
    assert group.sealed() == {0: 11} and group.record()["done"] == "1"


def test_what_ends_before_the_lost_parent_is_back_is_not_lost(store, group):
    group.split()
    members = group.relay()
    running, waiting = store.leased(members[0]), members[1]
    store.lose_all()
    assert store.finish(running, b"", 0, CHECK % 7, "b", 1) == "ok"
    done = finish_member(store, waiting)
    assert store.record(members[0])["parent"] == group.parent.id and group.state() is None
    assert 0 < store.ttl(f"sealed:{group.parent.id}") <= DAY
    group.split()
    assert store.ttl(f"sealed:{group.parent.id}") == store.ttl(f"group:{group.parent.id}") == -1
    assert group.sealed() == {0: running.fence, 1: done.fence} and group.record()["done"] == "2"
    rest = group.relay()
    assert list(rest) == [2]
    finish_member(store, rest[2])
    assert group.record()["verified"] == CHECK % 7


def test_a_member_that_was_not_made_again_does_not_count_before_its_group_is_known(store, group):
    group.split()
    member = group.relay()[0]
    lease = store.leased(member)
    store.r.delete(f"group:{group.parent.id}", f"sealed:{group.parent.id}")
    assert store.finish(lease, b"", 0, CHECK % 1, "b", 1) == "ok"
    assert group.sealed() == {} and not store.r.exists(f"group:{group.parent.id}")


def test_a_member_that_failed_before_the_lost_parent_is_back_fails_it(store, group):
    group.split()
    members = group.relay()
    store.lose_all()
    assert store.fail(store.leased(members[1]), "permanent", detail="bad") == "failed"
    assert group.split() == "ok"
    assert group.state() == "failed" and group.record()["detail"] == "member 1 failed: bad"
    for number in (0, 2):
        assert store.claim(members[number])[5] == "cancelled"


def test_members_that_ended_while_nobody_counted_are_found_by_the_next_visit(store, group):
    group.split()
    members = group.relay()
    lease = finish_member(store, members[0])
    store.r.hdel(f"sealed:{group.parent.id}", 0)
    store.r.sadd(f"open:{group.parent.id}", 0)
    store.r.hdel(f"group:{group.parent.id}", "verified", "bound", "unchecked")
    group.split()
    assert group.sealed() == {0: lease.fence}
    assert store.r.hget(f"group:{group.parent.id}", "verified").decode() == CHECK % 0.5


def test_members_whose_records_are_gone_are_made_again(store, group):
    group.split()
    members = group.relay()
    store.r.delete(f"job:{members[1].id}")
    store.r.zrem(f"ix:{KIND}", members[1].id)
    store.r.hincrby("count", f"accepted:{KIND}", -1)
    group.split()
    again = group.relay()
    assert list(again) == [1] and again[1].id == members[1].id


def test_members_whose_messages_are_gone_are_made_again_after_a_while(store, group):
    group.split()
    members = group.relay()
    store.leased(members[2])

    def age(number, ms):
        store.r.hset(f"job:{members[number].id}", "created", store.now() - ms)

    age(0, 590_000), age(1, 610_000), age(2, 610_000)
    group.split()
    age(1, 610_000)
    group.split()
    again = group.relay()
    assert list(again) == [1] and again[1].id == members[1].id, "not while an entry waits in the outbox, nor one that runs"
    assert store.now() - int(store.record(members[1])["created"]) > 600_000
    group.split()
    assert list(group.relay()) == [1]
    assert store.now() - int(store.record(members[1])["created"]) < 60_000
    group.split()
    assert group.relay() == {}
    lease = finish_member(store, members[1])
    assert store.claim(again[1], copy="x") == "terminal" and group.sealed() == {1: lease.fence}


def test_a_cancelled_member_of_a_parent_that_lives_runs_again(store, group):
    """Its group had ended, but Redis has forgotten that, and only the cancel was said again."""
    group.split()
    members = group.relay()
    before = store.snapshot()
    lease = store.leased(members[0])
    store.fail(store.leased(members[1]), "permanent")
    assert store.renew(lease) == "cancelled"
    assert store.claim(members[2])[5] == "cancelled"
    epoch = store.epoch
    store.roll_back(before)
    store.new_epoch()
    for number in (0, 2):
        assert store.call("cancel", members[number].id, DAY, epoch, KIND)[0] == "ok"
    group.split()
    again = group.relay()
    assert sorted(again) == [0, 2]
    assert store.finish(lease, b"", 0, "", "b", 1) == "ok", "of an older epoch: Redis has forgotten that it was stopped"
    for job in (again[2], members[1]):
        finish_member(store, job)
    assert group.state() == "completed"


def test_a_replayed_split_makes_a_lost_group_again(store, group):
    lease = group.visit()
    group.split(lease)
    members = group.relay()
    done = finish_member(store, members[0])
    store.lose_all()
    assert group.split(lease)[0] == "retrying"
    assert store.finish(done, b"", 0, "", "b", 1, replay=["ok"]) == "ok"
    assert group.record()["done"] == "1"
    assert group.visit("w8").attempt == 1
    store.new_epoch()
    assert group.split(lease) == "stale", "another visit is under way"


def test_a_rolled_back_finish_is_counted_again_once(store, group):
    group.split()
    members = group.relay()
    before = store.snapshot()
    lease = finish_member(store, members[0])
    for _ in range(2):
        store.roll_back(before)
        store.new_epoch()
        assert store.finish(lease, b"", 0, "", "b", 1, replay=["ok"]) == "ok"
    assert group.record()["done"] == "1" and group.sealed() == {0: lease.fence}
