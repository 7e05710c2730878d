# SPDX-License-Identifier: Apache-2.0
"""Kinds whose results have any size and type, and several programs that compute: by the kind `sample` of the tests,
which has a program of its own, beside the kinds of millrace-exec."""

import math
import os
import signal
import sys

import pytest
import test_executor
from harness import BUILD, eventually, kinds, refused
from test_executor import HASH, IS_SANITIZED, start  # noqa: F401

INLINE = 262144
EXEC, SAMPLE = "millrace-exec", "millrace-exec-sample"


@pytest.fixture
def fleet(servers, make_fleet):
    fleet = make_fleet(servers, MILLRACE_EXEC=os.path.join(BUILD, EXEC),
                       MILLRACE_EXEC_IMAGE=os.path.join(BUILD, "millrace-exec-image"), MILLRACE_BACKOFF_BASE_SECONDS=1)
    fleet.build = os.path.join(BUILD, "sample")
    return fleet


def executors(worker):
    """Names of the programs that its children run."""
    names = []
    for pid in worker.executors():
        try:
            names.append(os.path.basename(os.readlink(f"/proc/{pid}/exe")))
        except FileNotFoundError:
            pass  # ended meanwhile
    return sorted(names)


def pid_of(worker, name):
    pid, = [pid for pid in worker.executors() if os.readlink(f"/proc/{pid}/exe").endswith("/" + name)]
    return pid


def files(fleet):
    """All that lies in the store of blobs, but its folders."""
    return [os.path.join(at, name) for at, _, names in os.walk(fleet.blob_dir) for name in names]


def completed(fleet, job, deadline=30):
    record = fleet.wait_end(job, deadline)
    assert record["state"] == "completed", record
    return record


def failed(fleet, job, code, *words):
    record = fleet.wait_end(job)
    assert record["state"] == "failed" and record["error"]["code"] == code, record
    for word in words:
        assert word in record["error"]["detail"], record
    return record


# ---- results ---------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, INLINE])
def test_a_small_result_is_in_the_record(fleet, size):
    fleet.start_gateway()
    fleet.start_worker()
    job = fleet.submit("sample", b"abc", bytes=size, type="text/plain; charset=utf-8")
    assert completed(fleet, job)["result"] == {"size": size, "content_type": "text/plain; charset=utf-8"}
    answer = fleet.result(job)
    assert answer.content == (b"abc" * size)[:size]
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Security-Policy"] == "sandbox"
    eventually(lambda: files(fleet) == [])


@pytest.mark.parametrize("size", [INLINE + 1, 5_000_000])
def test_a_large_result_is_a_blob(fleet, size):
    fleet.start_gateway()
    fleet.start_worker()
    job = fleet.submit("sample", b"0123456789", bytes=size, type="image/png")
    assert completed(fleet, job)["result"] == {"size": size, "content_type": "image/png"}
    expected = (b"0123456789" * (size // 10 + 1))[:size]
    answer = fleet.result(job)
    assert answer.content == expected and answer.headers["Content-Type"] == "image/png"
    part = fleet.call("GET", f"/jobs/{job}/result", headers={"Range": "bytes=250000-299999"})
    assert part.status_code == 206 and part.content == expected[250000:300000]
    assert part.headers["Content-Type"] == "image/png"
    assert len(files(fleet)) == 2  # it and its checksum


def test_a_result_without_a_type_has_that_of_the_kind(fleet):
    fleet.start_gateway()
    fleet.start_worker()
    for size in (3, INLINE + 1):
        job = fleet.submit("sample", b"abc", bytes=size)
        assert completed(fleet, job)["result"]["content_type"] == "application/octet-stream"
        assert fleet.result(job).headers["Content-Type"] == "application/octet-stream"


def test_accept_is_held_against_the_type_of_the_record(fleet):
    fleet.start_gateway()
    fleet.start_worker()
    for size in (3, INLINE + 1):
        job = fleet.submit("sample", b"abc", bytes=size, type="image/webp")
        completed(fleet, job)
        for accept in ("image/webp", "image/*", "text/html, */*;q=0.1"):
            assert fleet.result(job, headers={"Accept": accept}).headers["Content-Type"] == "image/webp"
        answer = fleet.call("GET", f"/jobs/{job}/result", headers={"Accept": "image/png"})
        refused(answer, 406, "not-acceptable", "image/webp")
        assert fleet.call("HEAD", f"/jobs/{job}/result").headers["Content-Type"] == "image/webp"


@pytest.mark.parametrize("media", ["image", "/image", "text/häh"])
def test_a_type_that_no_header_can_carry_is_no_result(fleet, media):
    fleet.start_gateway(MILLRACE_ATTEMPTS_MAX=1)
    fleet.start_worker(MILLRACE_ATTEMPTS_MAX=1)
    job = fleet.submit("sample", b"abc", type=media)
    failed(fleet, job, "internal", "media type")


def test_a_result_beyond_the_largest_fails_at_once_and_says_so(fleet):
    fleet.start_gateway()
    fleet.start_worker(MILLRACE_RESULT_MAX=1_000_000)
    job = fleet.submit("sample", b"abc" * 1000, bytes=1_000_000)
    assert len(fleet.result(job if completed(fleet, job) else job).content) == 1_000_000
    job = fleet.submit("sample", b"abc" * 1000, bytes=1_000_001)
    assert failed(fleet, job, "result-too-large", "more than 1000000 bytes")["attempt"] == 1
    eventually(lambda: len(files(fleet)) == 2)


def test_without_a_directory_what_fits_the_record_is_kept(fleet):
    fleet.start_gateway(MILLRACE_BLOB_DIR="")
    fleet.start_worker(MILLRACE_BLOB_DIR="")
    job = fleet.submit("sample", b"abc", bytes=INLINE)
    completed(fleet, job)
    assert len(fleet.result(job).content) == INLINE
    job = fleet.submit("sample", b"abc", bytes=INLINE + 1)
    assert failed(fleet, job, "result-too-large", str(INLINE), "directory")["attempt"] == 1
    refused(fleet.call("POST", "/jobs/sample", data=b"x" * (INLINE + 1)), 413, "too-large", str(INLINE))


def test_a_large_input_is_a_blob(fleet):
    fleet.start_gateway()
    fleet.start_worker()
    data = os.urandom(3_000_000)
    job = fleet.submit("sample", data, type="image/tiff")
    completed(fleet, job)
    assert fleet.result(job).content == data
    refused(fleet.call("POST", "/jobs/sample", data=b"x" * ((16 << 20) + 1)), 413, "too-large", str(16 << 20))
    refused(fleet.call("POST", "/jobs/sample", data=b""), 400, "bad-body", "empty", str(16 << 20))


def test_a_full_disk_under_a_result_is_tried_again(fleet, small_disk):
    fleet.blob_dir = os.path.join(small_disk, "blobs")
    fleet.start_gateway()
    worker = fleet.start_worker()
    ballast = os.path.join(small_disk, "ballast")
    with open(ballast, "wb") as file:
        file.write(b"x" * 3_500_000)
    job = fleet.submit("sample", b"0123456789" * 1000, bytes=2_000_000)
    record = fleet.wait_state(job, "retrying")
    assert record["error"]["code"] == "disk-full" and "no room for the result" in record["error"]["detail"]
    eventually(lambda: files(fleet) == [], what="nothing left of it")
    assert executors(worker) == [EXEC, SAMPLE]  # it was the job that failed, not its executor
    os.unlink(ballast)
    assert completed(fleet, job)["attempt"] == 2
    assert len(fleet.result(job).content) == 2_000_000


# ---- several programs --------------------------------------------------------------------


def test_a_program_starts_when_it_is_needed_and_rests_when_it_is_not(fleet):
    fleet.start_gateway()
    worker = fleet.start_worker(MILLRACE_EXECUTOR_REST_SECONDS=1)
    assert executors(worker) == [EXEC]
    completed(fleet, fleet.submit("sample", b"x"))
    eventually(lambda: executors(worker) in ([EXEC], [SAMPLE]), what="one of them rests")
    completed(fleet, fleet.submit("sample", b"x"))
    completed(fleet, fleet.submit_hash(b"x"))
    completed(fleet, fleet.submit("sample", b"x"))
    assert not worker.events("executor-died") and not worker.events("executor-broken")


def test_the_main_program_does_not_run_where_its_kinds_are_not_served(fleet):
    fleet.start_gateway()
    worker = fleet.start_worker(MILLRACE_KINDS="sample")
    assert executors(worker) == []
    completed(fleet, fleet.submit("sample", b"x"))
    assert executors(worker) == [SAMPLE]


def test_an_executor_killed_in_the_middle_of_a_job_is_a_loss_and_the_job_completes(fleet):
    fleet.start_gateway()
    worker = fleet.start_worker()
    job = fleet.submit("sample", b"x", bytes=INLINE + 1, wait=3)
    fleet.wait_state(job, "in-progress")
    eventually(lambda: fleet.job(job)["progress"] > 0)
    main = pid_of(worker, EXEC)
    os.kill(pid_of(worker, SAMPLE), signal.SIGKILL)
    record = completed(fleet, job)
    assert record["losses"] == 1 and record["attempt"] == 2
    assert pid_of(worker, EXEC) == main
    assert len(worker.events("executor-died")) == 1


def test_the_end_of_one_program_does_not_disturb_a_job_of_another(fleet):
    fleet.start_gateway()
    worker = fleet.start_worker()
    job = fleet.submit("sample", b"x", wait=4)
    eventually(lambda: fleet.job(job)["progress"] > 0)
    for _ in range(3):  # also when its next start is put off
        pid = eventually(lambda: pid_of(worker, EXEC))
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: not os.path.exists(f"/proc/{pid}"))
        eventually(lambda: EXEC in executors(worker))
    record = completed(fleet, job)
    assert record["losses"] == 0 and record["attempt"] == 1
    completed(fleet, fleet.submit_hash(b"x"))


@pytest.fixture
def broken_program(tmp_path):
    """It may be run, and ends at once."""
    path = tmp_path / "broken"
    path.write_text("#!/bin/false\n")
    path.chmod(0o755)
    return path


def test_a_broken_program_leaves_the_kinds_of_the_others_alone(fleet, broken_program):
    fleet.start_gateway()
    worker = fleet.start_worker(MILLRACE_EXEC_SAMPLE=broken_program)
    waits = fleet.submit("sample", b"x")
    eventually(lambda: len(worker.events("executor-broken")) >= 3)
    assert fleet.job(waits)["state"] == "pending" and fleet.job(waits)["attempt"] == 0
    for i in range(5):
        completed(fleet, fleet.submit_hash(b"%d" % i))
    assert worker.is_ready() and len(worker.events("executor-broken")) < 12
    broken_program.unlink()
    broken_program.symlink_to(os.path.join(BUILD, "sample", SAMPLE))
    assert completed(fleet, waits)["attempt"] == 1


def test_a_broken_main_program_leaves_the_kinds_of_the_others_alone(fleet, broken_program):
    fleet.start_gateway()
    worker = fleet.start_worker(MILLRACE_EXEC=broken_program)
    waits = fleet.submit_hash(b"x")
    completed(fleet, fleet.submit("sample", b"x"))
    assert fleet.job(waits)["state"] == "pending"
    assert not [line for line in worker.events(kind="hash") if line["event"].startswith("job-")]


def test_a_program_that_vanishes_is_waited_for(fleet, tmp_path):
    link = tmp_path / "sample"
    link.symlink_to(os.path.join(BUILD, "sample", SAMPLE))
    fleet.start_gateway()
    worker = fleet.start_worker(MILLRACE_EXEC_SAMPLE=link)
    link.unlink()
    waits = fleet.submit("sample", b"x")
    eventually(lambda: len(worker.events("executor-cannot-start")) >= 2)
    completed(fleet, fleet.submit_hash(b"x"))
    assert fleet.job(waits)["state"] == "pending"
    link.symlink_to(os.path.join(BUILD, "sample", SAMPLE))
    completed(fleet, waits)


KEEPS_WRITING = """#!/usr/bin/python3
import os, socket, sys
sys.path[:0] = {path!r}
import test_executor as t
ours = socket.socket(fileno=3)
socket.recv_fds(ours, 4096, 1)
ours.send(bytes(t.Ready(t.READY, os.getpid(), b"")))
while True:
    output = socket.recv_fds(ours, 16384, 8)[1][-1]
    at = os.pwrite(output, b"a" * 400000, 0)
    done = t.Done(t.DONE, 0, at, 1)
    done.sum = b"0" * 32
    ours.send(bytes(done))
    try:
        while at < 1 << 24:
            at += os.pwrite(output, b"b" * 4096, at)
    except OSError:
        pass
"""


@pytest.mark.skipif(IS_SANITIZED, reason="it borrows the frames of a program that is not sanitized")
def test_a_program_that_writes_on_behind_its_answer_spoils_no_completed_job(fleet, tmp_path):
    program = tmp_path / "program"
    program.write_text(KEEPS_WRITING.format(path=[path for path in sys.path if "tests" in path]))
    program.chmod(0o755)
    fleet.start_gateway()
    fleet.start_worker(MILLRACE_KINDS="sample", MILLRACE_EXEC_SAMPLE=program)
    for job in [fleet.submit("sample", b"x", attempts=1) for _ in range(8)]:
        if fleet.wait_end(job)["state"] == "completed":
            answer = fleet.result(job)
            assert answer.status_code == 200 and answer.content == b"a" * 400000


def test_kinds_whose_program_is_absent_are_not_served(fleet):
    fleet.start_gateway()
    worker = fleet.start_worker(MILLRACE_EXEC_SAMPLE="/nonexistent")
    line, = worker.events("kind-not-served")
    assert (line["kind"], line["path"]) == ("sample", "/nonexistent")
    waits = fleet.submit("sample", b"x")
    completed(fleet, fleet.submit_hash(b"x"))
    assert fleet.job(waits)["state"] == "pending"


def test_a_kind_that_is_named_needs_its_program(fleet):
    worker = fleet.start_worker(wait=False, MILLRACE_KINDS="hash,sample", MILLRACE_EXEC_SAMPLE="/nonexistent")
    assert worker.wait() == 2
    assert "MILLRACE_KINDS names 'sample', whose program /nonexistent is not there" in worker.log()


def test_many_jobs_of_all_programs_complete_on_few_slots(fleet):
    fleet.start_gateway()
    fleet.start_worker(MILLRACE_SLOTS=2, MILLRACE_RECYCLE_JOBS=7, MILLRACE_EXECUTOR_REST_SECONDS=1)
    jobs = []
    for i in range(60):
        jobs.append(fleet.submit("sample", b"%d " % i, bytes=(i % 3) * 200_000, type=f"x/t{i}"))
        jobs.append(fleet.submit_hash(b"%d" % i, 1000))
    for i, job in enumerate(jobs):
        record = completed(fleet, job)
        assert record["losses"] == 0
        if i % 2 == 0:
            assert record["result"] == {"size": (i // 2 % 3) * 200_000, "content_type": f"x/t{i // 2}"}
    fleet.assert_adds_up()


# ---- the program itself --------------------------------------------------------------------

SAMPLE_KIND = len(kinds())  # behind all that are not of the tests
LARGE = INLINE + 1


@pytest.fixture
def sample(start, monkeypatch):  # noqa: F811
    monkeypatch.setattr(test_executor, "EXECUTOR", os.path.join(BUILD, "sample", SAMPLE))
    return start()


def run(sample, size, output=None):
    sample.send_job(SAMPLE_KIND, (size, math.nan, 0), b"abc", output=output, output_max=1 << 20)
    return sample.receive_done()


def test_it_answers_from_memory_or_from_the_file(sample, tmp_path):
    for size, is_file in ((INLINE, 0), (LARGE, 1), (0, 0), (1 << 20, 1)):
        with open(tmp_path / str(size), "w+b") as file:
            done, output = run(sample, size, file.fileno())
            assert (done.err, done.output_len, done.is_file, done.media) == (0, size, is_file, b"")
            got = file.read() if is_file else output
            assert got == (b"abc" * (size // 3 + 1))[:size]


def test_its_file_cannot_grow_beyond_the_bound(sample, tmp_path):
    with open(tmp_path / "file", "w+b") as file:
        done, _ = run(sample, (1 << 20) + 1, file.fileno())
        assert done.err == done.why_err and b"more than 1048576 bytes" in done.detail
        assert os.fstat(file.fileno()).st_size <= 1 << 20
        assert run(sample, 3)[1] == b"abc"


def test_without_a_file_or_room_on_the_disk_it_says_so_and_lives(sample):
    assert b"no directory" in run(sample, LARGE)[0].detail
    full = os.open("/dev/full", os.O_WRONLY)
    assert b"no room for the result" in run(sample, LARGE, full)[0].detail
    os.close(full)
    assert run(sample, 3)[1] == b"abc"


def test_a_job_of_a_kind_that_another_program_computes_ends_it(sample):
    sample.send_job(HASH, (1,), b"x")
    assert sample.wait() == 3
    assert b"protocol" in sample.process.stderr.read()


@pytest.mark.skipif(IS_SANITIZED, reason="sanitizers take memory of their own")
def test_it_has_a_jail_and_nothing_of_the_main_program(sample):
    assert int(sample.status()["VmRSS"].split()[0]) <= 6 * 1024
    assert sample.status()["Seccomp"] == "2"
