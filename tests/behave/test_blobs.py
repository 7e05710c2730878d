# SPDX-License-Identifier: Apache-2.0
"""/blobs: what is uploaded is there for every gateway, whole or not at all, until nobody needs it."""

import hashlib
import os
import socket
import time

import pytest

from harness import eventually, refused

JOB = "0193489c-aaaa-7bbb-8ccc-0123456789ab"
BYTES = bytes(range(256)) * 2000  # 512,000


@pytest.fixture
def gateway(fleet):
    return fleet.start_gateway()


def files(fleet):
    """All that lies in the directory, finished or not."""
    return sorted(os.path.join(folder, name) for folder, _, names in os.walk(fleet.blob_dir) for name in names)


def put(fleet, data=BYTES, name="", status=201, **more):
    answer = fleet.call("PUT", f"/blobs{name}", data=data, **more)
    assert answer.status_code == status, f"{answer.status_code} {answer.text}"
    return answer.json()


def get(fleet, blob, status=200, gateway=None, **headers):
    answer = fleet.call("GET", f"/blobs/{blob}", gateway, headers={k.replace("_", "-"): v for k, v in headers.items()})
    assert answer.status_code == status, f"{answer.status_code} {answer.text[:300]}"
    return answer


# -- in and out


def test_what_was_uploaded_comes_back(fleet, gateway):
    for data in (BYTES, b"x", iter([BYTES[:1000], BYTES[1000:400000], BYTES[400000:]])):  # an iterator goes chunked
        answer = fleet.call("PUT", "/blobs/", data=data)
        assert answer.status_code == 201, answer.text
        blob = answer.json()
        wanted = data if isinstance(data, bytes) else BYTES
        assert answer.headers["Location"] == "/blobs/" + blob["id"] and blob["size"] == len(wanted)
        assert answer.headers["ETag"] == f'"{blob["etag"]}"'
        back = get(fleet, blob["id"])
        assert back.content == wanted and back.headers["ETag"] == answer.headers["ETag"]
        head = fleet.call("HEAD", f"/blobs/{blob['id']}")
        assert head.headers["Content-Length"] == str(len(wanted)) and not head.content
        assert "Last-Modified" not in head.headers  # to name it as an operand changes its time
        assert fleet.call("GET", f"/blobs?prefix={blob['id']}").json() == {
            "blobs": [{"id": blob["id"], "size": len(wanted)}]}
        assert fleet.call("DELETE", f"/blobs/{blob['id']}").status_code == 204
        assert get(fleet, blob["id"], 404).json()["code"] == "not-found"
        assert fleet.call("DELETE", f"/blobs/{blob['id']}").status_code == 404
    assert files(fleet) == []


def test_the_same_bytes_have_the_same_tag(fleet, gateway):
    first, again, other = put(fleet), put(fleet), put(fleet, BYTES[1:])
    assert first["etag"] == again["etag"] != other["etag"] and first["id"] != again["id"]


@pytest.mark.parametrize("wanted,start,stop", [
    ("bytes=0-9", 0, 10), ("bytes=511990-", 511990, 512000), ("bytes=-7", 511993, 512000),
    ("bytes=100000-399999", 100000, 400000), ("bytes=511999-9999999", 511999, 512000), ("bytes=0-", 0, 512000),
])
def test_a_range_is_served(fleet, gateway, wanted, start, stop):
    part = get(fleet, put(fleet)["id"], 206, Range=wanted)
    assert part.content == BYTES[start:stop]
    assert part.headers["Content-Range"] == f"bytes {start}-{stop - 1}/512000"


def test_ranges_that_are_none(fleet, gateway):
    blob = put(fleet)["id"]
    refused(get(fleet, blob, 416, Range="bytes=512000-"), 416, "bad-range")
    assert get(fleet, blob, Range="bytes=9-3").content == BYTES
    assert get(fleet, blob, Range="bytes=0-1,5-6").content == BYTES
    assert get(fleet, blob, Range="rows=0-1").content == BYTES


def test_conditions(fleet, gateway):
    blob = put(fleet)
    tag = f'"{blob["etag"]}"'
    unchanged = get(fleet, blob["id"], 304, If_None_Match=f'"other", {tag}')
    assert unchanged.headers["ETag"] == tag and not unchanged.content
    assert unchanged.headers["Content-Length"] == str(len(BYTES))
    assert get(fleet, blob["id"], 304, If_None_Match=f"W/{tag}").headers["ETag"] == tag
    assert get(fleet, blob["id"], If_None_Match='"other"').content == BYTES
    refused(get(fleet, blob["id"], 412, If_Match='"other"'), 412, "precondition-failed")
    assert get(fleet, blob["id"], If_Match=tag).content == BYTES
    assert get(fleet, blob["id"], 206, If_Range=tag, Range="bytes=0-3").content == BYTES[:4]
    assert get(fleet, blob["id"], If_Range='"other"', Range="bytes=0-3").content == BYTES


def test_conditions_of_a_removal(fleet, gateway):
    blob = put(fleet)
    tag = f'"{blob["etag"]}"'

    def remove(**headers):
        return fleet.call("DELETE", f"/blobs/{blob['id']}", headers={k.replace("_", "-"): v for k, v in headers.items()})

    for headers in ({"If_Match": '"other"'}, {"If_Match": f"W/{tag}"}, {"If_None_Match": tag}, {"If_None_Match": "*"}):
        refused(remove(**headers), 412, "precondition-failed")
    get(fleet, blob["id"])
    assert remove(If_Match=f'"other", {tag}', If_None_Match='"other"').status_code == 204
    refused(remove(If_Match=tag), 404, "not-found")


# -- what is refused


def test_a_checksum_is_held_against_the_bytes(fleet, gateway):
    right = hashlib.sha256(BYTES).hexdigest()
    put(fleet, name=f"?sha256={right}")
    put(fleet, name=f"?sha256={right.upper()}")
    before = files(fleet)
    refused(fleet.call("PUT", f"/blobs?sha256={right}", data=BYTES[1:]), 400, "bad-digest", right)
    for wrong in ("", "abc", right + "0", "g" * 64):
        refused(fleet.call("PUT", f"/blobs?sha256={wrong}", data=BYTES), 400, "bad-parameter", "64")
    refused(fleet.call("PUT", "/blobs?md5=1", data=BYTES), 400, "bad-parameter", "md5")
    assert files(fleet) == before


def test_empty_bodies_and_unknown_names(fleet, gateway):
    refused(fleet.call("PUT", "/blobs", data=b""), 400, "bad-body", "empty")
    refused(fleet.call("PUT", "/blobs", data=iter([])), 400, "bad-body", "empty")
    for name in (JOB, "x", "..%2f..%2fetc%2fpasswd", "probe", JOB + "-x", JOB + ".sum", "tmp"):
        refused(fleet.call("GET", "/blobs/" + name), 404, "not-found")
        refused(fleet.call("DELETE", "/blobs/" + name), 404, "not-found")
        if "%2f" not in name:
            refused(fleet.call("PUT", "/blobs/" + name, data=b"x"), 400, "bad-parameter")
    for prefix in ("", "?prefix=", "?prefix=0193489c", "?prefix=../"):
        refused(fleet.call("GET", "/blobs" + prefix), 400, "bad-parameter", "UUID")
    assert files(fleet) == []


def test_a_body_beyond_the_limit_is_refused_before_it_is_stored(fleet):
    fleet.start_gateway(MILLRACE_UPLOAD_MAX=100000)
    refused(fleet.call("PUT", "/blobs", data=BYTES), 413, "too-large", "100000", "512000")
    refused(fleet.call("PUT", "/blobs", data=iter([BYTES])), 413, "too-large", "100000")
    put(fleet, BYTES[:100000])
    assert len(files(fleet)) == 2  # the blob and its checksum


def test_a_client_that_waits_for_a_word_sends_nothing_that_is_refused(fleet):
    gateway = fleet.start_gateway(MILLRACE_UPLOAD_MAX=100000)
    head = b"PUT /blobs HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n"
    with socket.create_connection(("127.0.0.1", int(gateway.url.rsplit(":", 1)[1]))) as connection:
        connection.settimeout(10)
        connection.sendall(head % 100001)
        assert connection.recv(4096).startswith(b"HTTP/1.1 413 ")
    with socket.create_connection(("127.0.0.1", int(gateway.url.rsplit(":", 1)[1]))) as connection:
        connection.settimeout(10)
        connection.sendall(head % 5)
        assert connection.recv(4096).startswith(b"HTTP/1.1 100 ")
        connection.sendall(b"hello")
        assert connection.recv(4096).startswith(b"HTTP/1.1 201 ")


def test_a_refusal_reaches_a_client_that_sends_all_before_it_looks(fleet):
    """100 MB: more than would be read for nothing."""
    fleet.start_gateway(MILLRACE_UPLOAD_MAX=100000)
    refused(fleet.call("PUT", "/blobs", data=b"x" * 100_000_000), 413, "too-large", "100000")


def test_beyond_the_quota_there_is_no_room(fleet):
    fleet.start_gateway(MILLRACE_BLOB_QUOTA=600000)
    blob = put(fleet)["id"]
    refused(fleet.call("PUT", "/blobs", data=BYTES), 507, "disk-full")
    refused(fleet.call("PUT", "/blobs", data=iter([BYTES])), 507, "disk-full")
    assert len(files(fleet)) == 2
    fleet.call("DELETE", f"/blobs/{blob}")
    put(fleet)


def test_a_full_disk_is_told_and_nothing_is_left(fleet, small_disk):
    fleet.blob_dir = os.path.join(small_disk, "blobs")
    fleet.start_gateway()
    refused(fleet.call("PUT", "/blobs", data=b"x" * 8_000_000), 507, "disk-full")
    refused(fleet.call("PUT", "/blobs", data=iter([b"x" * 1_000_000] * 8)), 507, "disk-full")
    eventually(lambda: files(fleet) == [], what="nothing left of them")
    put(fleet)


def test_a_gateway_without_a_directory_says_so(fleet):
    fleet.start_gateway(MILLRACE_BLOB_DIR="")
    for method, path in (("PUT", "/blobs"), ("PUT", f"/blobs/{JOB}-1"), ("GET", f"/blobs/{JOB}"),
                         ("GET", f"/blobs?prefix={JOB}"), ("DELETE", f"/blobs/{JOB}")):
        refused(fleet.call(method, path, data=b"x" if method == "PUT" else None), 501, "no-blobs", "MILLRACE_BLOB_DIR")
    assert "Retry-After" not in fleet.call("PUT", "/blobs", data=b"x").headers


# -- results that workers bring


def test_a_result_has_the_name_that_its_worker_gives(fleet, gateway):
    for name in (f"{JOB}-7", f"{JOB}-12-3"):
        assert put(fleet, name="/" + name)["id"] == name
        assert get(fleet, name).content == BYTES
        put(fleet, name="/" + name)  # the very same again: the first answer may have been lost
        refused(fleet.call("PUT", f"/blobs/{name}", data=BYTES[1:]), 409, "wrong-state", name)
        assert get(fleet, name).content == BYTES
    rows = fleet.call("GET", f"/blobs?prefix={JOB}").json()["blobs"]
    assert sorted(row["id"] for row in rows) == [f"{JOB}-12-3", f"{JOB}-7"]
    assert fleet.call("GET", f"/blobs?prefix={JOB}-12").json()["blobs"] == [{"id": f"{JOB}-12-3", "size": 512000}]
    assert len(files(fleet)) == 4


# -- clients and gateways that go


def test_a_client_that_goes_in_the_middle_leaves_nothing(fleet, gateway):
    for head in (b"Content-Length: 10000000", b"Transfer-Encoding: chunked"):
        with socket.create_connection(("127.0.0.1", int(gateway.url.rsplit(":", 1)[1]))) as connection:
            connection.sendall(b"PUT /blobs HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n\r\n")
            connection.sendall(b"100000\r\n" + b"x" * 0x100000)
            eventually(lambda: files(fleet), what="an upload under way")
        eventually(lambda: files(fleet) == [], what="nothing left of it")


def test_every_gateway_sees_the_blobs_also_after_a_restart(fleet, gateway):
    blob = put(fleet)["id"]
    other = fleet.start_gateway()
    assert get(fleet, blob, gateway=other).content == BYTES
    gateway.kill9()
    gateway.start()
    gateway.wait_ready()
    assert get(fleet, blob).content == BYTES
    assert fleet.call("DELETE", f"/blobs/{blob}", other).status_code == 204
    get(fleet, blob, 404)


def test_a_gateway_that_stops_in_the_middle_of_an_upload_stops(fleet, gateway):
    with socket.create_connection(("127.0.0.1", int(gateway.url.rsplit(":", 1)[1]))) as connection:
        connection.sendall(b"PUT /blobs HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000\r\n\r\n" + b"x" * 1_000_000)
        eventually(lambda: files(fleet), what="an upload under way")
        gateway.sigterm()
        assert gateway.wait() == 0
    assert files(fleet) == []


# -- what is needed, and what is not


def old(fleet, blob, seconds=90000):
    """As if it had been sealed long ago."""
    path = next(path for path in files(fleet) if os.path.basename(path) == blob)
    os.utime(path, (time.time() - seconds,) * 2)


def test_a_blob_that_a_job_needs_is_not_removed(fleet, gateway):
    job = fleet.submit_hash(BYTES)
    blob = next(os.path.basename(path) for path in files(fleet) if not path.endswith(".sum"))
    refused(fleet.call("DELETE", f"/blobs/{blob}"), 409, "wrong-state", "job")
    assert get(fleet, blob).content == BYTES
    assert fleet.call("DELETE", f"/jobs/{job}").ok
    eventually(lambda: fleet.call("DELETE", f"/blobs/{blob}").status_code == 204, what="it is not needed any more")


def test_without_the_store_nothing_is_removed(fleet, servers):
    fleet.start_gateway()
    blob = put(fleet)["id"]
    servers.redis.kill9()
    eventually(lambda: fleet.call("DELETE", f"/blobs/{blob}").status_code == 503, what="the store is down")
    assert get(fleet, blob).content == BYTES


def test_a_sweep_removes_what_is_old_and_needed_by_nobody(fleet, servers):
    gateway = fleet.start_gateway(MILLRACE_RETENTION_SECONDS=120)
    unused, young = put(fleet)["id"], put(fleet, b"young")["id"]
    result = put(fleet, name=f"/{JOB}-3")["id"]  # of a job that nobody knows any more
    fleet.submit_hash(BYTES)
    needed = ({os.path.basename(path) for path in files(fleet) if not path.endswith(".sum")}
              - {unused, young, result}).pop()
    for blob in (unused, needed, result):
        old(fleet, blob)
    gateway.stop()
    other = fleet.start_gateway(MILLRACE_RETENTION_SECONDS=120)
    eventually(lambda: "millrace_blobs 4" in fleet.call("GET", "/metrics", other).text, what="a sweep")
    assert get(fleet, unused, gateway=other).content == BYTES  # the store's epoch is too young to know of every job
    other.stop()
    servers.store().set("epoch", 1000)
    last = fleet.start_gateway(MILLRACE_RETENTION_SECONDS=120)
    eventually(lambda: "millrace_blobs 2" in fleet.call("GET", "/metrics", last).text, what="a sweep that removes")
    for blob, status in ((unused, 404), (result, 404), (needed, 200), (young, 200)):
        get(fleet, blob, status, gateway=last)
    assert last.events("blobs-swept", removed=2, bytes=1024000, left=2)
