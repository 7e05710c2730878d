# SPDX-License-Identifier: Apache-2.0
"""Groups that clients make: over HTTP, with workers and without."""

import threading
import time
import uuid

import pytest

from harness import eventually, refused

LIVE = ("pending", "in-progress", "retrying")
STATES = LIVE + ("completed", "failed", "cancelled")


class Group:
    """A group as its client sees it."""

    def __init__(self, fleet, name=None):
        self.fleet = fleet
        answer = fleet.call("POST", "/groups", params={"name": name} if name else {})
        assert answer.status_code == 201, answer.text
        self.made = answer.json()
        self.id = self.made["id"]
        assert answer.headers["Location"] == self.made["links"]["self"] == f"/groups/{self.id}"

    def hash(self, data=b"x", iterations=1, **more):
        return self.fleet.submit("hash", data, iterations=iterations, group=self.id, **more)

    def view(self, **params):
        answer = self.fleet.call("GET", f"/groups/{self.id}", params=params)
        assert answer.status_code == 200, answer.text
        view = answer.json()
        assert view["jobs"]["accepted"] == sum(view["jobs"][state] for state in STATES), view
        return view

    def jobs(self):
        """The states that some member is in, with how many."""
        return {state: count for state, count in self.view()["jobs"].items() if count and state != "accepted"}

    def ends(self, **params):
        answer = self.fleet.call("GET", f"/groups/{self.id}/ends", params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def follow(self, deadline=30):
        """Ids of all ends until the group has ended, by long poll from the beginning."""
        ids, after, end = [], 0, time.monotonic() + deadline
        while True:
            page = self.ends(after=after, wait=5)
            ids += [record["id"] for record in page["ends"]]
            after = page["next"]
            if page["state"] == "ended" and not page["ends"]:
                return ids
            assert time.monotonic() < end, page

    def close(self):
        answer = self.fleet.call("POST", f"/groups/{self.id}/close")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def cancel(self):
        answer = self.fleet.call("DELETE", f"/groups/{self.id}")
        assert answer.status_code == 202, answer.text
        return answer.json()


@pytest.fixture
def gateway(fleet):
    """A fleet without a worker."""
    fleet.start_gateway()
    return fleet


# ---- making, adding ---------------------------------------------------------------

def test_a_group_is_made_with_a_name_and_is_empty(gateway):
    group = Group(gateway, name='leaves "2026" ü')
    assert group.made["state"] == "open" and group.made["name"] == 'leaves "2026" ü' and group.made["ends"] == 0
    assert group.made["jobs"] == dict.fromkeys(("accepted",) + STATES, 0)
    assert group.view() == group.made
    assert Group(gateway).made["name"] == ""


def test_members_are_counted_by_state_and_name_their_group(gateway):
    group = Group(gateway)
    jobs = [group.hash(), group.hash(b"y")]
    assert group.jobs() == {"pending": 2}
    assert gateway.job(jobs[0])["group"] == group.id
    gateway.call("DELETE", f"/jobs/{jobs[0]}")
    assert group.jobs() == {"pending": 1, "cancelled": 1}
    assert [record["id"] for record in group.ends()["ends"]] == [jobs[0]]
    assert group.view()["ends"] == 1 and group.view()["state"] == "open"


def test_a_group_that_is_unknown_or_closed_takes_no_jobs(gateway):
    for name in (str(uuid.uuid4()), "plants"):
        answer = gateway.call("POST", f"/jobs/hash?iterations=1&group={name}", data=b"x")
        refused(answer, 404, "not-found", "no ", "group")
    group = Group(gateway)
    group.close()
    answer = gateway.call("POST", f"/jobs/hash?iterations=1&group={group.id}", data=b"x")
    refused(answer, 409, "wrong-state", "closed")
    answer = gateway.call("PUT", f"/enqueue?iterations=1&group={group.id}&group={group.id}", data=b"x")
    refused(answer, 400, "bad-parameter", "group", "twice")
    assert group.view()["jobs"]["accepted"] == 0 and gateway.stats()["jobs"]["accepted"] == 0


def test_the_same_key_counts_once_and_another_group_is_another_request(gateway):
    group, other = Group(gateway), Group(gateway)
    key = {"Idempotency-Key": f"{group.id}-1"}
    first = group.hash(headers=key)
    group.close()
    assert group.hash(headers=key) == first
    assert group.jobs() == {"pending": 1}
    answer = gateway.call("POST", f"/jobs/hash?iterations=1&group={other.id}", data=b"x", headers=key)
    refused(answer, 422, "key-reused")
    assert other.jobs() == {}


def test_every_submitting_call_takes_a_group(gateway):
    group = Group(gateway)
    matrices = {"A": [[1.0]], "B": [[1.0]]}
    answers = [gateway.call("POST", f"/matrix_multiplication?group={group.id}", json=matrices),
               gateway.call("PUT", f"/enqueue?iterations=1&group={group.id}", data=b"x"),
               gateway.call("POST", f"/jobs/spin?seconds=0&group={group.id}")]
    assert [answer.status_code for answer in answers] == [202] * 3
    assert group.jobs() == {"pending": 3}


# ---- ends ------------------------------------------------------------------------------

def test_ends_come_in_order_and_in_pages(fleet):
    fleet.start_gateway()
    fleet.start_worker()
    group = Group(fleet)
    jobs = [group.hash(bytes([n])) for n in range(10)]
    group.close()
    assert group.view(wait=30)["state"] == "ended"
    first = group.ends(limit=4)
    second = group.ends(limit=1000, after=first["next"])
    assert len(first["ends"]) == 4 and len(second["ends"]) == 6
    ids = [record["id"] for record in first["ends"] + second["ends"]]
    assert sorted(ids) == sorted(jobs) and group.follow() == ids
    finished = [record["finished"] for record in first["ends"] + second["ends"]]
    assert finished == sorted(finished)
    for record in first["ends"]:
        assert record == fleet.job(record["id"])
    assert group.ends(after=second["next"], wait=20) == {"ends": [], "next": second["next"], "state": "ended"}
    assert group.view()["jobs"]["completed"] == group.view()["ends"] == 10


def test_who_waits_for_ends_hears_of_the_first_and_of_the_end(gateway):
    group = Group(gateway)
    job = group.hash()
    answers = []
    waiting = [threading.Thread(target=lambda: answers.append(group.ends(wait=20))) for _ in range(3)]
    waiting.append(threading.Thread(target=lambda: answers.append(group.view(wait=20))))
    begun = time.monotonic()
    for thread in waiting:
        thread.start()
    eventually(lambda: "millrace_http_long_polls 4" in gateway.call("GET", "/metrics").text)
    gateway.call("DELETE", f"/jobs/{job}")
    for thread in waiting[:3]:
        thread.join()
    assert [[record["id"] for record in page["ends"]] for page in answers] == [[job]] * 3
    assert waiting[3].is_alive()
    group.close()
    waiting[3].join()
    assert answers[3]["state"] == "ended" and time.monotonic() - begun < 15


def test_a_wait_that_is_over_is_answered_with_nothing(gateway):
    group = Group(gateway)
    assert group.ends(wait=0.1) == {"ends": [], "next": 0, "state": "open"}
    assert group.ends(after=7, wait=0.1)["next"] == 7


def test_an_end_whose_record_has_expired_is_named(gateway):
    group = Group(gateway)
    job = group.hash()
    gateway.call("DELETE", f"/jobs/{job}")
    gateway.servers.store().delete(f"job:{job}")
    assert group.ends()["ends"] == [{"id": job, "state": "expired"}]


def test_a_member_that_a_person_retries_ends_again(fleet):
    fleet.start_gateway()
    fleet.start_worker()
    group = Group(fleet)
    job = fleet.submit("spin", seconds=5, timeout=1, attempts=1, group=group.id)
    group.close()
    assert group.view(wait=30)["state"] == "ended" and group.jobs() == {"failed": 1}
    first = group.ends()
    assert first["ends"][0]["error"]["code"] == "timeout"
    assert fleet.call("POST", f"/jobs/{job}/retry").status_code == 202
    assert group.view()["state"] == "closed" and group.view()["jobs"]["accepted"] == 1
    second = group.ends(after=first["next"], wait=20)
    assert [record["id"] for record in second["ends"]] == [job] and second["next"] > first["next"]
    assert group.view()["ends"] == 2 and group.jobs() == {"failed": 1} and group.view()["state"] == "ended"


# ---- the end of a group --------------------------------------------------------------------

def test_close_is_final_and_may_be_repeated(gateway):
    group = Group(gateway)
    job = group.hash()
    assert group.close()["state"] == group.close()["state"] == "closed"
    gateway.call("DELETE", f"/jobs/{job}")
    assert group.view()["state"] == "ended" and group.close()["state"] == "ended"


def test_a_cancel_ends_all_members_and_may_be_repeated(gateway):
    group, other = Group(gateway), Group(gateway)
    jobs = [group.hash(bytes([n % 256])) for n in range(450)]
    kept = other.hash()
    view = group.cancel()
    assert view["state"] == "ended" and view["jobs"]["cancelled"] == view["ends"] == 450
    assert group.cancel()["ends"] == 450 and gateway.job(kept)["state"] == "pending"
    ids, page = [], group.ends(limit=1000)
    ids = [record["id"] for record in page["ends"]]
    assert sorted(ids) == sorted(jobs) and {record["state"] for record in page["ends"]} == {"cancelled"}
    gateway.assert_adds_up()
    gateway.start_worker()
    gateway.wait_end(kept)
    assert group.view()["ends"] == 450


def test_a_cancel_reaches_a_member_that_runs(fleet):
    fleet.start_gateway()
    fleet.start_worker()
    group = Group(fleet)
    job = fleet.submit("spin", seconds=60, group=group.id)
    fleet.wait_state(job, "in-progress")
    assert group.jobs() == {"in-progress": 1}
    assert group.cancel()["state"] == "ended"
    after = fleet.submit("spin", seconds=0)
    assert fleet.wait_end(after, deadline=15)["state"] == "completed"


def test_a_client_goes_on_where_he_was_after_a_loss_of_everything(make_fleet, private_servers):
    fleet = make_fleet(private_servers)
    fleet.start_gateway()
    worker = fleet.start_worker()
    group = Group(fleet)
    first = [group.hash(bytes([n])) for n in range(3)]
    page = {"next": 0}
    seen = []
    while len(seen) < 3:
        page = group.ends(after=page["next"], wait=20)
        seen += [record["id"] for record in page["ends"]]
    assert sorted(seen) == sorted(first)
    worker.stop()
    later = [group.hash(bytes([n])) for n in range(4)]
    fleet.gateways[0].stop()  # and with it all that it would say again
    fleet.gateways.clear()
    private_servers.store().flushall()
    fleet.start_gateway()
    refused(fleet.call("GET", f"/groups/{group.id}"), 404, "not-found", "lost")
    fleet.start_worker()
    eventually(lambda: fleet.call("GET", f"/groups/{group.id}").status_code == 200)
    found = set()
    while len(found) < 4:
        page = group.ends(after=page["next"], wait=20)
        found |= {record["id"] for record in page["ends"]}
    assert found == set(later) and group.view()["state"] == "ended"
    assert group.view()["jobs"]["accepted"] == 4 and group.close()["state"] == "ended"


# ---- what is refused ---------------------------------------------------------------------------

def test_what_a_call_does_not_take_is_refused_by_name(gateway):
    group = Group(gateway)
    for path, words in (("?name=x", ("'name'", "wait")), ("/ends?after=-1", ("after", "'-1'")),
                        ("/ends?limit=0", ("limit", "1000")), ("/ends?limit=1001", ("limit", "'1001'")),
                        ("/ends?after=" + "9" * 19, ("after",)), ("/ends?after=1&after=2", ("after", "twice")),
                        ("/ends?from=1", ("'from'", "after, limit and wait")), ("/ends?wait=x", ("wait",)),
                        ("?wait=1s", ("wait",))):
        refused(gateway.call("GET", f"/groups/{group.id}{path}"), 400, "bad-parameter", *words)
    refused(gateway.call("POST", "/groups?nam=x"), 400, "bad-parameter", "'nam'")
    refused(gateway.call("POST", "/groups?name=" + "x" * 201), 400, "bad-parameter", "201", "200")
    refused(gateway.call("POST", f"/groups/{group.id}/close?now=1"), 400, "bad-parameter", "'now'", "none")
    refused(gateway.call("DELETE", f"/groups/{group.id}?now=1"), 400, "bad-parameter", "'now'")


@pytest.mark.parametrize("method, path", [("GET", ""), ("GET", "/ends"), ("POST", "/close"), ("DELETE", "")])
def test_a_group_that_nobody_knows_is_a_404(gateway, method, path):
    refused(gateway.call(method, f"/groups/{uuid.uuid4()}{path}"), 404, "not-found", "group")
    refused(gateway.call(method, f"/groups/plants{path}"), 404, "not-found", "UUID")


# ---- attempts -------------------------------------------------------------------------------------

def test_attempts_is_the_budget_of_this_job_alone(fleet):
    fleet.start_gateway()
    fleet.start_worker()
    once = fleet.submit("spin", seconds=5, timeout=1, attempts=1)
    assert fleet.job(once)["max_attempts"] == 1
    record = fleet.wait_end(once)
    assert record["state"] == "failed" and record["attempt"] == 1 and record["error"]["code"] == "timeout"
    assert fleet.job(fleet.submit("spin", seconds=0))["max_attempts"] == 3
    for value in ("0", "101", "x"):
        refused(fleet.call("POST", f"/jobs/spin?seconds=0&attempts={value}"), 400, "bad-parameter", "attempts", "100")
