# SPDX-License-Identifier: Apache-2.0
"""The executor as its worker sees it: frames over a socket pair, data in a memfd (worker/frame.h)."""

import ctypes
import hashlib
import io
import json
import math
import mmap
import os
import resource
import signal
import socket
import subprocess
import sys
import time

import numpy
import pytest

from harness import BUILD, eventually

EXECUTOR = os.path.join(BUILD, "millrace-exec")
JAIL_PROBE = os.path.join(BUILD, "jail-probe")
PAGE = 4096
INLINE_MAX = 262144
MEMORY_MAX = 1 << 30
HELLO, READY, JOB, DONE = 1, 2, 3, 4
HASH, MATRIX, SPIN = 0, 1, 2
PARAMS_MAX = 16
BLOBS_MAX = 4
DEADLINE = 20.0
IS_SANITIZED = b"__asan_init" in open(EXECUTOR, "rb").read() or b"__tsan_init" in open(EXECUTOR, "rb").read()


class Hello(ctypes.Structure):
    _fields_ = [("type", ctypes.c_uint32), ("threads", ctypes.c_uint32), ("inline_max", ctypes.c_uint64),
                ("memory_max", ctypes.c_uint64)]


class Ready(ctypes.Structure):
    _fields_ = [("type", ctypes.c_uint32), ("pid", ctypes.c_uint32), ("kernel", ctypes.c_char * 32)]


class Job(ctypes.Structure):
    _fields_ = [("type", ctypes.c_uint32), ("kind", ctypes.c_uint32), ("input_len", ctypes.c_uint64),
                ("blob_count", ctypes.c_uint32), ("has_output", ctypes.c_uint32),
                ("blob_bytes", ctypes.c_uint64 * BLOBS_MAX), ("output_max", ctypes.c_uint64),
                ("real", ctypes.c_double * PARAMS_MAX), ("integer", ctypes.c_int64 * PARAMS_MAX),
                ("text_len", ctypes.c_uint32), ("rest_len", ctypes.c_uint32),
                ("text", ctypes.c_char * 1024), ("rest", ctypes.c_char * 1024),
                ("refs", ctypes.c_char * 2048)]


class Done(ctypes.Structure):
    _fields_ = [("type", ctypes.c_uint32), ("err", ctypes.c_uint32), ("output_len", ctypes.c_uint64),
                ("is_file", ctypes.c_uint32), ("media", ctypes.c_char * 128), ("sum", ctypes.c_char * 33), ("verified", ctypes.c_char * 128),
                ("why_err", ctypes.c_uint32), ("detail", ctypes.c_char * 1280)]


def round_up(size):
    return (size + PAGE - 1) // PAGE * PAGE


class Executor:
    """One process, and what a worker holds of it."""

    def __init__(self, threads=1, inline_max=INLINE_MAX, memory_max=MEMORY_MAX):
        self.input_at = PAGE
        self.output_at = PAGE + round_up(inline_max)
        size = self.output_at + round_up(inline_max) + PAGE
        memfd = os.memfd_create("job")
        os.ftruncate(memfd, size)
        self.map = mmap.mmap(memfd, size)
        self.socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(DEADLINE)
        socket.send_fds(self.socket, [bytes(Hello(HELLO, threads, inline_max, memory_max))], [memfd])
        os.close(memfd)
        names = ("PATH", "ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS", "LSAN_OPTIONS")
        environment = {name: os.environ[name] for name in names if name in os.environ}
        environment["OPENBLAS_NUM_THREADS"] = str(threads)
        started = time.perf_counter()
        self.process = subprocess.Popen(
            ["/bin/bash", "-c", f'exec "$0" 3<&{theirs.fileno()}', EXECUTOR],
            pass_fds=[theirs.fileno()], env=environment, stderr=subprocess.PIPE)
        theirs.close()
        frame = self.socket.recv(4096)
        self.start_seconds = time.perf_counter() - started
        assert len(frame) == ctypes.sizeof(Ready), self.process.stderr.read()
        self.ready = ready = Ready.from_buffer_copy(frame)
        assert (ready.type, ready.pid) == (READY, self.process.pid)
        self.space = resource.prlimit(self.process.pid, resource.RLIMIT_AS)[0]

    def send_job(self, kind, values, body=b"", blobs=(), refs=None, output=None, output_max=0):
        """blobs: open files of the input; output: one of output_max bytes for the result."""
        self.map[self.input_at:self.input_at + len(body)] = body
        job = Job(JOB, kind, len(body), len(blobs), output is not None)
        for i in range(PARAMS_MAX):
            value = values[i] if i < len(values) else math.nan  # NAN: absent
            job.real[i] = value
            job.integer[i] = 0 if math.isnan(value) else int(value)
        for i, blob in enumerate(blobs):
            job.blob_bytes[i] = os.fstat(blob).st_size
        job.refs = json.dumps(refs).encode() if refs else b""
        job.output_max = output_max
        descriptors = [*blobs, output] if output is not None else list(blobs)
        self.lend_limits(output_max, 2 * sum(round_up(size) for size in job.blob_bytes))
        socket.send_fds(self.socket, [bytes(job)], descriptors)

    def lend_limits(self, file_bytes, addresses):
        """As the supervisor does it, from outside."""
        resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, (file_bytes, resource.RLIM_INFINITY))
        if not IS_SANITIZED:
            resource.prlimit(self.process.pid, resource.RLIMIT_AS, (self.space + addresses, resource.RLIM_INFINITY))

    def receive_done(self):
        frame = self.socket.recv(4096)
        assert len(frame) == ctypes.sizeof(Done)
        done = Done.from_buffer_copy(frame)
        assert done.type == DONE
        return done, self.map[self.output_at:self.output_at + done.output_len]

    def run(self, kind, values, body=b""):
        self.send_job(kind, values, body)
        return self.receive_done()

    def multiply(self, a, b):
        done, output = self.run(MATRIX, (a.shape[0], a.shape[1], b.shape[1]), a.tobytes() + b.tobytes())
        assert done.err == 0, done.detail
        return numpy.load(io.BytesIO(output))

    def progress(self):
        return ctypes.c_double.from_buffer_copy(self.map[:8]).value

    def status(self):
        with open(f"/proc/{self.process.pid}/status") as f:
            return dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)

    def wait(self):
        return self.process.wait(DEADLINE)

    def close(self):
        self.socket.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(DEADLINE)
        self.process.stderr.close()


@pytest.fixture
def start():
    started = []

    def make(**options):
        started.append(Executor(**options))
        return started[-1]

    yield make
    for executor in started:
        executor.close()


@pytest.fixture
def executor(start):
    return start()


def chain(body, iterations):
    for _ in range(iterations):
        body = hashlib.sha512(body).digest()
    return body


@pytest.mark.parametrize("length", [1, 63, 64, 111, 112, 127, 128, 129, 16384, INLINE_MAX])
def test_hash_is_hashlibs(executor, length):
    body = os.urandom(length)
    for iterations in (1, 2, 3, 1000):
        done, output = executor.run(HASH, (iterations,), body)
        assert (done.err, output) == (0, chain(body, iterations))


def test_matrix_is_numpys(start):
    random = numpy.random.default_rng(7)
    for threads in (1, 2):
        executor = start(threads=threads)
        for m, k, n in [(1, 1, 1), (1, 5, 1), (5, 1, 5), (4, 4, 4), (3, 7, 2), (100, 90, 110), (1, 16000, 1),
                        (181, 90, 181), (8000, 1, 4)]:
            a, b = random.standard_normal((m, k)), random.standard_normal((k, n))
            c = executor.multiply(a, b)
            assert c.dtype == numpy.dtype("<f8") and c.shape == (m, n)
            numpy.testing.assert_allclose(c, a @ b, rtol=1e-12, atol=1e-12 * k)


def test_matrix_fills_the_inline_limit_to_the_last_byte(executor):
    side = math.isqrt(INLINE_MAX // 16)
    a = numpy.full((side, side), 0.5)
    assert 16 * side * side == INLINE_MAX
    assert (executor.multiply(a, a) == side / 4).all()
    column, row = numpy.ones((181, 1)), numpy.ones((1, 181))  # the product is the larger part
    assert executor.multiply(column, row).sum() == 181 * 181


def test_matrix_header_is_aligned(executor):
    _, output = executor.run(MATRIX, (1, 1, 1), numpy.array([3.0, 4.0]).tobytes())
    assert (len(output), output[:8]) == (136, b"\x93NUMPY\x01\x00")
    assert numpy.frombuffer(output[128:]) == 12


@pytest.mark.parametrize("threads", [1, 2])  # with one, a flag of the processor tells whether to look
@pytest.mark.parametrize("side", [1, 3, 5, 40, 127])
def test_overflow_is_an_error_that_names_the_place(start, side, threads):
    executor = start(threads=threads)
    a = numpy.zeros((side, side))
    a[side - 1, 0] = 1e200
    b = numpy.zeros((side, side))
    b[0, side // 2] = -1e200
    done, _ = executor.run(MATRIX, (side, side, side), a.tobytes() + b.tobytes())
    assert done.err != 0 and done.err == done.why_err
    assert done.detail.decode() == f"the product overflows float64 in row {side - 1}, column {side // 2} of C"
    assert (executor.multiply(numpy.eye(side), numpy.eye(side)) == numpy.eye(side)).all()
    assert executor.run(MATRIX, (side, side, side), a.tobytes() + b.tobytes())[0].err == done.err


def test_a_sum_that_overflows_is_found_too(executor):
    a = numpy.full((64, 64), 1e154)
    done, _ = executor.run(MATRIX, (64, 64, 64), a.tobytes() + a.tobytes())  # no product alone is too large
    assert done.detail.decode() == "the product overflows float64 in row 0, column 0 of C"


def test_infinities_of_the_operands_are_the_products(executor):
    a = numpy.array([[math.inf, 1.0], [0.0, 2.0]])
    c = executor.multiply(a, numpy.array([[1.0, 0.0], [1.0, 1.0]]))
    assert c[0, 0] == math.inf and math.isnan(c[0, 1]) and (c[1] == [2, 2]).all()


def test_a_body_of_the_wrong_size_fails_the_job_alone(executor):
    done, _ = executor.run(MATRIX, (2, 2, 2), b"\0" * 56)
    assert done.err != 0
    assert done.detail.decode() == "operand B of 2 x 2 does not fit into a body of 56 bytes"
    assert executor.multiply(numpy.eye(2), numpy.eye(2)).trace() == 2


def test_spin_takes_its_time_on_one_core(executor):
    before = time.monotonic()
    done, output = executor.run(SPIN, (0.2,))
    seconds = time.monotonic() - before
    assert done.err == 0 and 0.2 <= seconds < 2
    result = json.loads(output)
    assert result["seconds"] == 0.2 and result["iterations"] > 0
    assert json.loads(executor.run(SPIN, (0,))[1]) == {"seconds": 0, "iterations": 0}


def test_progress_rises_while_a_job_runs(executor):
    executor.send_job(SPIN, (0.5,))
    eventually(lambda: 0 < executor.progress() < 0.5)
    eventually(lambda: executor.progress() > 0.5)
    executor.receive_done()
    executor.send_job(HASH, (5_000_000,), b"x")
    seen = set()
    eventually(lambda: seen.add(executor.progress()) or len(seen) > 5, every=0.001)
    assert executor.receive_done()[0].err == 0
    assert executor.progress() == 1


def test_many_jobs_need_no_more_memory_than_a_few(executor):
    random = numpy.random.default_rng(1)
    a, b = random.standard_normal((120, 120)), random.standard_normal((120, 120))

    def work(jobs):
        for _ in range(jobs):
            executor.multiply(a, b)
            executor.run(HASH, (2,), b"x" * 1000)
        return int(executor.status()["VmRSS"].split()[0])

    first = work(50)
    assert work(500) - first <= 256 * (64 if IS_SANITIZED else 1)  # kB; a sanitizer keeps what was freed for a while


@pytest.mark.skipif(IS_SANITIZED, reason="sanitizers take memory and time of their own")
def test_it_is_small_and_soon_ready(start):
    assert int(start().status()["VmRSS"].split()[0]) <= 16 * 1024
    eventually(lambda: start().start_seconds < 0.025)  # on a busy machine not the first one


def test_it_ends_when_its_worker_closes(start):
    for threads in (1, 2):
        for _ in range(10):
            executor = start(threads=threads)
            executor.socket.close()
            assert executor.wait() == 0, executor.process.stderr.read()


def test_it_outlives_signals_meant_for_the_worker(executor):
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        executor.process.send_signal(number)
    assert executor.run(HASH, (1,), b"a")[1] == chain(b"a", 1)


def test_it_dies_with_its_parent_in_the_middle_of_a_job():
    """A parent of its own starts it, gives it an hour of work, and is killed."""
    program = ("import sys; sys.path[:0] = sys.argv[1].split(':')\n"
               "import test_executor as t\n"
               "e = t.Executor(); e.send_job(t.SPIN, (3600,)); print(e.process.pid, flush=True)\n"
               "import time; time.sleep(600)\n")
    here = os.path.dirname(os.path.abspath(__file__))
    parent = subprocess.Popen([sys.executable, "-c", program, f"{here}:{os.path.dirname(here)}"],
                              stdout=subprocess.PIPE)
    pid = int(parent.stdout.readline())
    assert os.path.exists(f"/proc/{pid}")
    parent.kill()
    parent.wait()
    parent.stdout.close()

    def is_gone():
        try:
            with open(f"/proc/{pid}/stat") as f:
                return f.read().rsplit(") ", 1)[1][0] in "ZX"
        except FileNotFoundError:
            return True

    eventually(is_gone)


@pytest.mark.parametrize("frame", [b"", b"x", bytes(Job(JOB, 99, 0)), bytes(Job(HELLO, 0, 0)),
                                   bytes(Job(JOB, HASH, INLINE_MAX + 1)), bytes(Job(JOB, HASH, 1)) + b"x"],
                         ids=["nothing", "short", "kind", "type", "length", "long"])
def test_frames_that_make_no_sense_end_it(executor, frame):
    executor.socket.send(frame)
    assert executor.wait() == (0 if frame == b"" else 3)


def job_frame(**fields):
    job = Job(JOB, HASH, 1)
    job.real[0], job.integer[0] = 1, 1
    for name, value in fields.items():
        setattr(job, name, value)
    return bytes(job)


@pytest.mark.parametrize("frame, count", [(job_frame(), 1), (job_frame(blob_count=1), 0), (job_frame(blob_count=1), 2),
                                          (job_frame(has_output=1), 0), (job_frame(blob_count=4, has_output=1), 6),
                                          (job_frame(blob_count=5), 5), (job_frame(has_output=2), 2),
                                          (job_frame(blob_count=2**32 - 1, has_output=1), 0),
                                          (job_frame()[:-2048] + b"x" * 2048, 0)],
                         ids=["one-more", "none", "no-output", "output-missing", "six", "five-inputs", "two-outputs",
                              "wraps", "refs-without-end"])
def test_a_job_with_another_number_of_descriptors_than_it_says_ends_it(executor, tmp_path, frame, count):
    files = [open(tmp_path / str(i), "wb") for i in range(count)]
    socket.send_fds(executor.socket, [frame], [file.fileno() for file in files])
    assert executor.wait() == 3
    assert b"protocol" in executor.process.stderr.read()
    for file in files:
        file.close()


def test_descriptors_are_closed_after_each_job(executor, tmp_path):
    before = sorted(os.listdir(f"/proc/{executor.process.pid}/fd"))
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(b"x")
    for _ in range(20):
        with open(tmp_path / "a", "rb") as a, open(tmp_path / "b", "rb") as b:
            executor.send_job(HASH, (1,), b"x", blobs=[a.fileno(), b.fileno()])
            executor.receive_done()
    assert sorted(os.listdir(f"/proc/{executor.process.pid}/fd")) == before
    assert executor.run(HASH, (1,), b"a")[1] == chain(b"a", 1)


def test_it_is_not_for_people():
    done = subprocess.run([EXECUTOR], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 2 and "started by millrace-worker" in done.stderr
    done = subprocess.run([EXECUTOR, "--nonsense"], capture_output=True, text=True)
    assert done.returncode == 2 and "--help" in done.stderr
    assert subprocess.run([EXECUTOR, "--version"], capture_output=True, text=True).stdout.startswith("millrace-exec ")


@pytest.mark.skipif(IS_SANITIZED, reason="a sanitizer needs what the jail forbids")
class TestJail:
    def test_of_the_executor_is_closed(self, executor):
        status = executor.status()
        assert (status["Seccomp"], status["NoNewPrivs"]) == ("2", "1")
        executor.run(SPIN, (0.01,))

    @pytest.mark.parametrize("attempt", ["socket", "unix-socket", "open", "create", "unlink", "fork", "kill",
                                         "ptrace", "memfd", "exec", "code", "thread", "limits", "io-uring",
                                         "shmget", "shmat", "shared", "shared-validate", "stack",
                                         "map-file-shared"])
    def test_kills_who_tries(self, attempt):
        done = subprocess.run([JAIL_PROBE, attempt], stderr=subprocess.PIPE)
        assert done.returncode == -signal.SIGSYS, done.stderr

    @pytest.mark.parametrize("attempt, status", [("nothing", 0), ("memory", 0), ("too-much-memory", 1),
                                                 ("read-file", 0), ("hand-over-file", 0), ("write-file", 1), ("too-many-addresses", 1), ("turn-writable", 1), ("grow-shared", 1),
                                                 ("other-descriptor", 1), ("abort", -signal.SIGABRT)])
    def test_lets_live_who_computes(self, attempt, status):
        done = subprocess.run([JAIL_PROBE, attempt], stderr=subprocess.PIPE)
        assert done.returncode == status, done.stderr

    def test_holds_with_all_threads_of_a_product(self, start):
        executor = start(threads=2)
        tasks = os.listdir(f"/proc/{executor.process.pid}/task")
        assert len(tasks) == 3  # one of the matrix library, one of the crew
        for task in tasks:
            with open(f"/proc/{executor.process.pid}/task/{task}/status") as f:
                assert "Seccomp:\t2" in f.read()
        a = numpy.ones((128, 128))
        assert (executor.multiply(a, a) == 128).all()

    def test_memory_beyond_the_limit_costs_the_executor_alone(self, start):
        executor = start(memory_max=1 << 20)
        a = numpy.ones((128, 128))  # what OpenBLAS needs, it has from the start
        assert (executor.multiply(a, a) == 128).all()
