# SPDX-License-Identifier: Apache-2.0
"""The kind command: listed programs, from the request to their result, and what is left of them afterwards: nothing."""

import io
import json
import os
import pathlib
import platform
import shutil
import signal
import socket
import subprocess
import tarfile
import tempfile

import pytest
from PIL import Image

from harness import BUILD, REPOSITORY, eventually, refused

EXAMPLE = os.path.join(REPOSITORY, "examples", "process")
PYTHON = "/usr/bin/python3"
ENDURES = "import time\nwhile True: time.sleep(60)\n"


def script(text, **fields):
    """An entry that runs lines of Python."""
    return {"argv": [PYTHON, "-c", text.replace("{", "{{").replace("}", "}}"), *fields.pop("more", [])], **fields}


@pytest.fixture
def commands(servers, make_fleet, tmp_path, monkeypatch):
    """Starts a fleet with these commands; its .runs are the private folders that exist."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))

    def start(entries, worker=True, **env):
        path = tmp_path / "commands.json"
        path.write_text(json.dumps(entries))
        fleet = make_fleet(servers, MILLRACE_COMMANDS_FILE=path, MILLRACE_BACKOFF_BASE_SECONDS=1, **env)
        fleet.runs = lambda: sorted(name for name in os.listdir(scratch) if name.startswith("millrace-run-"))
        fleet.scratch = scratch
        fleet.start_gateway()
        if worker:
            fleet.start_worker(MILLRACE_KINDS="command")
        return fleet
    return start


def run(fleet, command, data=b"x", deadline=30, **params):
    """The record of a job that ended."""
    return fleet.wait_end(fleet.submit("command", data, command=command, **params), deadline)


def output(fleet, command, data=b"x", **params):
    """The result of a job that completed."""
    record = run(fleet, command, data, **params)
    assert record["state"] == "completed", record
    return fleet.result(record["id"])


def failed(fleet, command, code, *words, data=b"x", **params):
    record = run(fleet, command, data, **params)
    assert record["state"] == "failed" and record["error"]["code"] == code, record
    for word in words:
        assert word in record["error"]["detail"], record
    return record


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


# ---- what it is for --------------------------------------------------------------------------


def picture(form, size=(60, 40)):
    file = io.BytesIO()
    Image.linear_gradient("L").resize(size).convert("RGB").save(file, form)
    return file.getvalue()


def test_a_script_that_knows_nothing_of_us_processes_images(commands):
    with open(os.path.join(EXAMPLE, "commands.json"), encoding="utf-8") as file:
        entry = json.load(file)["process"]
    entry["argv"][1] = os.path.join(EXAMPLE, "process.py")
    fleet = commands({"process": entry})
    for form, name, media in (("PNG", "leaf.png", "image/png"), ("JPEG", "ein Blatt.JPG", "image/jpeg")):
        answer = output(fleet, "process", picture(form), name=name)
        assert answer.headers["Content-Type"] == media
        image = Image.open(io.BytesIO(answer.content))
        assert image.format == form and image.width > 30 and image.height > 30
    record = failed(fleet, "process", "command-failed", "exited with status 1", "cannot identify image file",
                    data=b"no image", name="broken.png")
    assert record["attempt"] == 1
    failed(fleet, "process", "command-failed", "cannot identify image file", data=b"", name="empty.png")
    eventually(lambda: fleet.runs() == [])


def test_input_and_output_travel_by_stdin_and_stdout(commands):
    fleet = commands({"sort": {"argv": ["/usr/bin/sort"], "type": "text/plain"}})
    answer = output(fleet, "sort", b"b\na\n")
    assert answer.content == b"a\nb\n" and answer.headers["Content-Type"] == "text/plain"
    large = b"".join(b"%07d\n" % i for i in range(1_000_000, 0, -1))
    assert output(fleet, "sort", large).content == b"".join(sorted(large.splitlines(True)))
    assert output(fleet, "sort", b"").content == b""
    eventually(lambda: fleet.runs() == [])


def test_a_file_has_the_clients_name_and_the_result_a_type(commands):
    fleet = commands({
        "file": script("import sys; open(sys.argv[2], 'wb').write(sys.argv[1].encode() + open(sys.argv[1], 'rb').read())",
                       more=["{in}", "{out}"], input="file", output="file"),
        "named": script("import sys; open(sys.argv[1] + '.csv', 'w').write('1,2')", more=["{out}"], input="none",
                        output="file"),
        "magic": script("import sys; sys.stdout.buffer.write(bytes.fromhex('89504e470d0a1a0a') + b'x')", input="none")})
    answer = output(fleet, "file", b"data", name="größe 1.txt")
    assert answer.content.endswith("/in/größe 1.txtdata".encode())
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert output(fleet, "file", b"data").content.endswith(b"/in/inputdata")
    assert output(fleet, "named", b"").headers["Content-Type"] == "text/csv"
    assert output(fleet, "magic", b"").headers["Content-Type"] == "image/png"
    refused(fleet.call("POST", "/jobs/command?command=magic", data=b"x"), 400, "bad-body", "takes no input")


def test_several_outputs_are_a_tar_that_depends_on_nothing_else(commands):
    text = ("import os, sys; o = sys.argv[1]; os.makedirs(o + '/d/e'); n = 'b' * 150;"
            "open(o + '/z', 'w').write('last'); open(o + '/d/e/' + n, 'w').write('deep'); open(o + '/ä', 'w')")
    fleet = commands({"many": script(text, more=["{out}"], input="none", output="directory", type="text/plain")})
    answers = [output(fleet, "many", b"") for _ in range(2)]
    assert answers[0].content == answers[1].content
    assert answers[0].headers["Content-Type"] == "text/plain"  # the operator knows better
    with tarfile.open(fileobj=io.BytesIO(answers[0].content)) as tar:
        assert tar.getnames() == ["d/e/" + "b" * 150, "z", "ä"]
        assert tar.extractfile("z").read() == b"last"
        assert {(m.mtime, m.uid, m.gid, m.mode) for m in tar} == {(0, 0, 0, 0o644)}


def test_names_and_sizes_of_any_length_come_out_of_the_tar(commands):
    """Around the edges of its fields (100 bytes of a name) and its blocks (512 bytes)."""
    text = ("import os, sys\no = os.fsencode(sys.argv[1])\n"
            "for size in 0, 1, 511, 512, 513, 300000: open(o + b'/size-%d' % size, 'wb').write(b'x' * size)\n"
            "for size in 98, 99, 100, 101, 255: open(o + b'/' + b'n' * size, 'wb').write(b'%d' % size)\n"
            "d = o + b'/' + b'/'.join([b'd' * 200] * 4); os.makedirs(d); open(d + b'/\\xff\\n', 'wb').write(b'deep')")
    fleet = commands({"many": script(text, more=["{out}"], input="none", output="directory")})
    content = output(fleet, "many", b"").content
    with tarfile.open(fileobj=io.BytesIO(content), errors="surrogateescape") as tar:
        found = {m.name: tar.extractfile(m).read() for m in tar}
    expected = {f"size-{size}": b"x" * size for size in (0, 1, 511, 512, 513, 300000)}
    expected |= {"n" * size: b"%d" % size for size in (98, 99, 100, 101, 255)}
    expected["/".join(["d" * 200] * 4) + "/\udcff\n"] = b"deep"
    assert found == expected
    listed = subprocess.run(["tar", "-tf", "-"], input=content, check=True, capture_output=True)
    assert not listed.stderr and len(listed.stdout.splitlines()) == len(expected)


@pytest.mark.parametrize("text, words", [
    ("pass", "left no file"),
    ("import os; os.symlink('/etc/hostname', o + '/link')", "link is neither a file nor a folder"),
    ("import os; os.mkfifo(o + '/pipe')", "pipe is neither"),
    ("import os, shutil; shutil.rmtree(o); os.symlink('/etc', o)", "the output folder"),
    ("import os\nfor _ in range(50): o += '/d'; os.mkdir(o)", "too deep"),
])
def test_an_output_folder_without_plain_files_fails_for_good(commands, text, words):
    fleet = commands({"c": script("import sys; o = sys.argv[1]\n" + text, more=["{out}"], input="none",
                                  output="directory")})
    assert failed(fleet, "c", "command-failed", words, data=b"")["attempt"] == 1
    eventually(lambda: fleet.runs() == [])


# ---- how it ends -------------------------------------------------------------------------------


def test_exit_codes_decide_whether_it_runs_again(commands):
    fleet = commands({"c": script("import sys; sys.stderr.write('line 1\\nGröße \\xff\\x01\\n'); sys.exit(int(sys.argv[1]))",
                                  more=["{status}"], retry=[75], parameters={"status": {"pattern": "[0-9]+"}}),
                      "signal": script("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", retry=[75]),
                      "again": script("import os; os.kill(os.getpid(), 9)", retry=[137])},
                     MILLRACE_ATTEMPTS_MAX=2)
    assert failed(fleet, "c", "command-failed", "c exited with status 3: line 1 | Größe ÿ?", status=3)["attempt"] == 1
    assert failed(fleet, "c", "command-again", "status 75", status=75)["attempt"] == 2
    assert run(fleet, "c", status=0)["state"] == "completed"
    assert failed(fleet, "signal", "command-failed", "signal 11 (SIGSEGV)")["attempt"] == 1
    assert failed(fleet, "again", "command-again", "signal 9 (SIGKILL)")["attempt"] == 2


def test_the_detail_has_the_last_that_was_said(commands):
    fleet = commands({"c": script("import sys; print('p' * 5000 + 'q' * 900 + 'end'); sys.exit(1)", output="file",
                                  more=["{out}"])})
    detail = failed(fleet, "c", "command-failed")["error"]["detail"]
    assert detail.endswith(": " + "p" * 120 + "q" * 900 + "end")  # 1 KiB with the line's end


def test_a_program_that_goes_away_is_tried_again(commands, tmp_path):
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\nexit 0\n")
    program.chmod(0o755)
    fleet = commands({"c": {"argv": [str(program)]}})
    assert run(fleet, "c")["state"] == "completed"
    program.write_text("no program")
    job = fleet.submit("command", b"x", command="c")
    record = fleet.wait_state(job, "retrying")
    assert record["error"]["code"] == "io" and "cannot be started" in record["error"]["detail"]
    program.write_text("#!/bin/sh\nexit 0\n")
    assert fleet.wait_end(job)["state"] == "completed"


def test_a_full_disk_under_the_private_folders_is_tried_again(commands, small_disk, monkeypatch):
    monkeypatch.setenv("TMPDIR", small_disk)
    fleet = commands({"c": {"argv": ["/bin/cat"]}})
    ballast = os.path.join(small_disk, "ballast")
    with open(ballast, "wb") as file:
        file.write(b"x" * 4_100_000)
    job = fleet.submit("command", b"y" * 200_000, command="c")
    assert fleet.wait_state(job, "retrying")["error"]["code"] == "disk-full"
    eventually(lambda: os.listdir(small_disk) == ["ballast"])
    os.unlink(ballast)
    assert fleet.wait_end(job)["state"] == "completed" and len(fleet.result(job).content) == 200_000
    eventually(lambda: os.listdir(small_disk) == [])


# A parent, a child in its session, and one in a session of its own whose parent has gone; it writes their pids.
FAMILY = """
import os, signal, sys, time
for s in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT): signal.signal(s, signal.SIG_IGN)
def note(what):
    with open(sys.argv[1] + "/" + what, "w") as file: file.write(str(os.getpid()))
def endure():
    while True: time.sleep(60)
if os.fork() == 0:
    note("child"); endure()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            note("stray"); endure()
        os._exit(0)
    os._exit(0)
os.wait()
note("parent")
while not all(os.path.exists(sys.argv[1] + "/" + who) and os.path.getsize(sys.argv[1] + "/" + who)
              for who in ("child", "stray")): time.sleep(0.01)
"""


def family(tmp_path, end=ENDURES, **fields):
    return script(FAMILY + end, more=[str(tmp_path)], **fields)


def pids_of(tmp_path):
    def read():
        pids = [int((tmp_path / name).read_text() or 0) for name in ("parent", "child", "stray")
                if (tmp_path / name).exists()]
        return pids if len(pids) == 3 and all(pids) else None
    return eventually(read)


def expect_nothing_left(fleet, pids):
    eventually(lambda: not any(is_alive(pid) for pid in pids), what="the whole tree ended")
    eventually(lambda: fleet.runs() == [], what="its folder is gone")


def test_what_stays_behind_is_killed_when_the_program_ends(commands, tmp_path):
    fleet = commands({"c": family(tmp_path, "sys.stdout.write('done')")})
    assert output(fleet, "c").content == b"done"
    expect_nothing_left(fleet, pids_of(tmp_path))


def test_its_time_limit_ends_the_whole_tree(commands, tmp_path):
    fleet = commands({"c": family(tmp_path, "print('it hangs', file=sys.stderr, flush=True)\n" + ENDURES,
                                  timeout_s=2)}, MILLRACE_ATTEMPTS_MAX=1)
    failed(fleet, "c", "timeout", "2 s", "it hangs")
    expect_nothing_left(fleet, pids_of(tmp_path))


def test_the_jobs_time_limit_ends_the_whole_tree(commands, tmp_path):
    fleet = commands({"c": family(tmp_path)}, MILLRACE_ATTEMPTS_MAX=1)
    job = fleet.submit("command", b"x", command="c", timeout=2)
    pids = pids_of(tmp_path)
    assert len(fleet.runs()) == 1 and all(is_alive(pid) for pid in pids)
    assert fleet.wait_end(job)["error"]["code"] == "timeout"
    expect_nothing_left(fleet, pids)


def test_a_cancel_ends_the_whole_tree(commands, tmp_path):
    fleet = commands({"c": family(tmp_path)})
    job = fleet.submit("command", b"x", command="c")
    pids = pids_of(tmp_path)
    assert fleet.call("DELETE", f"/jobs/{job}").status_code == 202
    expect_nothing_left(fleet, pids)


def executor_of(worker):
    pid, = worker.executors()
    return pid


def children_of(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return list(map(int, file.read().split()))


def guard_of(worker):
    pid, = children_of(executor_of(worker))
    return pid


@pytest.mark.parametrize("victim", ["worker", "executor", "guard"])
def test_whoever_is_killed_the_tree_ends_and_the_folder_goes(commands, tmp_path, victim):
    fleet = commands({"c": family(tmp_path)})
    worker, = fleet.workers
    fleet.submit("command", b"x", command="c")
    pids = pids_of(tmp_path)
    assert all(is_alive(pid) for pid in pids) and len(fleet.runs()) == 1
    if victim == "guard":
        first = fleet.runs()
        os.kill(guard_of(worker), signal.SIGKILL)
        eventually(lambda: not any(is_alive(pid) for pid in pids), what="the whole tree ended")
        eventually(lambda: first[0] not in fleet.runs(), what="its folder is gone")
        worker.kill9()
    elif victim == "executor":
        first = fleet.runs()
        os.kill(executor_of(worker), signal.SIGKILL)
        eventually(lambda: not any(is_alive(pid) for pid in pids), what="the whole tree ended")
        eventually(lambda: first[0] not in fleet.runs(), what="its folder is gone")
        worker.kill9()
    else:
        worker.kill9()
    expect_nothing_left(fleet, pids)


def test_a_guard_that_somebody_stopped_ends_the_run_as_well(commands, tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir(), other.mkdir()
    fleet = commands({"limited": family(one, timeout_s=2), "c": family(other)}, MILLRACE_ATTEMPTS_MAX=1)
    worker, = fleet.workers
    job = fleet.submit("command", b"x", command="limited")
    pids = [*pids_of(one), guard_of(worker)]
    os.kill(pids[-1], signal.SIGSTOP)
    assert fleet.wait_end(job)["error"]["code"] == "timeout"
    expect_nothing_left(fleet, pids)
    job = fleet.submit("command", b"x", command="c")
    pids = [*pids_of(other), guard_of(worker)]
    os.kill(pids[-1], signal.SIGSTOP)
    assert fleet.call("DELETE", f"/jobs/{job}").status_code == 202
    expect_nothing_left(fleet, pids)


HANDS_ON = """
import array, socket, sys
with socket.socket(socket.AF_UNIX) as s:
    s.connect(sys.argv[1])
    s.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [1, 2]))])
sys.stdout.write("done")
"""


def test_who_was_handed_its_output_keeps_no_job_waiting(commands, tmp_path):
    fleet = commands({"c": script(HANDS_ON, more=[str(tmp_path / "socket")], network=True)})
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        server.listen()
        job = fleet.submit("command", b"x", command="c")
        holder, _ = server.accept()
        _, fds, _, _ = socket.recv_fds(holder, 1, 2)
        assert fleet.wait_end(job)["state"] == "completed" and fleet.result(job).content == b"done"
        for fd in fds:
            os.close(fd)
        holder.close()


def test_the_first_process_of_a_container_leaves_no_zombies(commands):
    fleet = commands({"c": {"argv": ["/bin/sleep", "1000"], "input": "none"}}, worker=False)
    alone = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
    if subprocess.run([*alone, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no namespace of processes may be made here")
    fleet.start_worker(MILLRACE_KINDS="command", within=alone)
    worker, = children_of(fleet.workers[0].pid)
    for _ in range(3):
        job = fleet.submit("command", b"", command="c")
        executor, = eventually(lambda: children_of(worker))
        guard, = eventually(lambda: children_of(executor))
        assert fleet.call("DELETE", f"/jobs/{job}").status_code == 202
        eventually(lambda: not os.path.exists(f"/proc/{guard}"), what="the guard is gone, and nothing is left of it")


def test_what_a_crash_of_all_left_is_swept_at_the_next_start(commands, tmp_path):
    fleet = commands({"c": family(tmp_path), "quick": {"argv": ["/bin/true"]}})
    worker, = fleet.workers
    job = fleet.submit("command", b"x", command="c")
    pids_of(tmp_path)
    guard, executor = guard_of(worker), executor_of(worker)
    os.kill(executor, signal.SIGSTOP)  # or it would see to it
    os.kill(guard, signal.SIGKILL)
    worker.kill9()
    eventually(lambda: not is_alive(executor))
    os.kill(int((tmp_path / "stray").read_text()), signal.SIGKILL)
    os.kill(int((tmp_path / "child").read_text()), signal.SIGKILL)
    fleet.call("DELETE", f"/jobs/{job}")
    left, = fleet.runs()
    locked = fleet.scratch / "millrace-run-locked"
    locked.mkdir()
    other = subprocess.Popen(["/usr/bin/flock", locked, "/bin/sleep", "1000"])  # a run of somebody else's
    try:
        fleet.start_worker(MILLRACE_KINDS="command")
        assert run(fleet, "quick")["state"] == "completed"
        assert left not in fleet.runs() and locked.name in fleet.runs()
    finally:
        other.kill()
        other.wait()


def test_a_folder_goes_whatever_is_in_it(commands):
    text = """
import os, socket
os.mkdir("shut"); open("shut/file", "w"); os.chmod("shut/file", 0); os.chmod("shut", 0)
os.symlink("/etc", "link"); os.mkfifo("pipe"); os.mkdir("+0")
for _ in range(3000): os.mkdir("deep"); os.chdir("deep")
open("bottom", "w")
"""
    fleet = commands({"c": script(text)})
    assert run(fleet, "c")["state"] == "completed"
    eventually(lambda: fleet.runs() == [])
    assert os.path.exists("/etc/passwd")


# ---- what it cannot do ---------------------------------------------------------------------------

CONNECT = """
import errno, socket
for family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX, socket.AF_NETLINK, socket.AF_PACKET):
    try: socket.socket(family, socket.SOCK_RAW if family == socket.AF_PACKET else socket.SOCK_STREAM); print("open")
    except OSError as error: print(errno.errorcode[error.errno])
socket.socketpair()
"""


def test_there_is_no_network_unless_it_is_listed(commands):
    connect = "import socket, sys; s = socket.create_connection(('127.0.0.1', int(sys.argv[1]))); print(s.recv(9))"
    parameters = {"port": {"pattern": "[0-9]+"}}
    fleet = commands({"families": script(CONNECT),
                      "without": script(connect, more=["{port}"], parameters=parameters),
                      "with": script(connect, more=["{port}"], parameters=parameters, network=True)})
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        failed(fleet, "without", "command-failed", "Permission denied", port=port)
        job = fleet.submit("command", b"x", command="with", port=port)
        client, _ = server.accept()
        client.sendall(b"hello")
        client.close()
    assert fleet.wait_end(job)["state"] == "completed" and fleet.result(job).content == b"b'hello'\n"
    assert output(fleet, "families").content == b"EACCES\n" * 5


PAIRS = """
import errno, socket, sys
for kind in (socket.SOCK_STREAM, socket.SOCK_SEQPACKET, socket.SOCK_DGRAM, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK,
             socket.SOCK_RAW):
    try:
        pair = socket.socketpair(socket.AF_UNIX, kind)
        print(pair[0].sendto(b"x", sys.argv[1]))
    except OSError as error: print(errno.errorcode[error.errno])
"""


def test_no_pair_of_sockets_reaches_a_daemon(commands, tmp_path):
    fleet = commands({"c": script(PAIRS, more=[str(tmp_path / "socket")])})
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as daemon:
        daemon.bind(str(tmp_path / "socket"))
        daemon.setblocking(False)
        assert output(fleet, "c").text.split() == ["EISCONN", "1", "EACCES", "EACCES", "EACCES"]
        with pytest.raises(BlockingIOError):
            daemon.recv(1)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the numbers of the calls are those of x86-64")
def test_the_filter_has_no_way_around(commands):
    text = """
import ctypes, errno, os
libc = ctypes.CDLL(None, use_errno=True)
def call(*arguments):
    return errno.errorcode[ctypes.get_errno()] if libc.syscall(*arguments) < 0 else "done"
print(call(425, 8, 0), call(101, 0, 0, 0, 0), call(272, 0x10000000), call(62, -1, 0), call(56, 0x40000011, 0, 0, 0, 0))
print(open("/proc/self/status").read())
"""
    fleet = commands({"c": script(text)})
    lines = output(fleet, "c").text.split("\n")
    assert lines[0] == "EPERM EPERM EPERM EPERM EPERM"  # io_uring, ptrace, unshare, kill(-1), clone(CLONE_NEWNET)
    assert "NoNewPrivs:\t1" in lines and "Seccomp:\t2" in lines


REACH = """
import ctypes, errno, fcntl, os, resource, signal
libc = ctypes.CDLL(None, use_errno=True)
def attempt(call, *arguments):
    try: call(*arguments); return "done"
    except OSError as error: return errno.errorcode[error.errno]
def raw(*arguments):
    return errno.errorcode[ctypes.get_errno()] if libc.syscall(*arguments) < 0 else "done"
def parent(pid):
    with open(f"/proc/{pid}/stat") as file: return int(file.read().rsplit(")", 1)[1].split()[1])
guard = os.getppid()
for who in (guard, parent(guard), parent(parent(guard))):  # guard, executor, worker
    info = ctypes.create_string_buffer(128)
    ctypes.cast(info, ctypes.POINTER(ctypes.c_int))[2] = -1  # SI_QUEUE
    folder = os.open(f"/proc/{who}", os.O_DIRECTORY)
    print(attempt(os.kill, who, signal.SIGSTOP), attempt(os.kill, -who, signal.SIGKILL), raw(200, who, 9),
          raw(234, who, who, 9), raw(234, -1, who, 9), raw(129, who, 9, info), raw(297, who, who, 9, info),
          attempt(signal.pidfd_send_signal, folder, 9), attempt(resource.prlimit, who, resource.RLIMIT_NOFILE, (0, 0)))
    os.close(folder)
    reader, writer = os.pipe()
    fcntl.fcntl(reader, fcntl.F_SETOWN, who)
    print(attempt(fcntl.fcntl, reader, 10, 9))
    fcntl.fcntl(reader, fcntl.F_SETFL, fcntl.fcntl(reader, fcntl.F_GETFL) | os.O_ASYNC)
    os.write(writer, b"x")  # SIGIO: nobody minds
child = os.fork()
if child == 0: signal.pause()
os.kill(child, signal.SIGTERM)
print(os.WTERMSIG(os.waitpid(child, 0)[1]), attempt(signal.raise_signal, signal.SIGURG), attempt(os.killpg, 0, 0),
      attempt(resource.prlimit, 0, resource.RLIMIT_NOFILE))
"""


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the numbers of the calls are those of x86-64")
def test_it_cannot_touch_who_sees_to_its_end(commands):
    fleet = commands({"c": script(REACH)})
    worker, = fleet.workers
    job = fleet.submit("command", b"x", command="c")
    record = fleet.wait_end(job)
    assert record["state"] == "completed" and record["losses"] == 0, record
    lines = fleet.result(job).text.splitlines()
    assert lines == [" ".join(["EPERM"] * 9), "EPERM"] * 3 + ["15 done done done"]
    assert worker.is_alive() and not worker.events("executor-died")


def test_its_environment_is_what_is_listed(commands):
    text = """
import json, os, signal
fds = sorted(int(name) for name in os.listdir("/proc/self/fd"))
print(json.dumps({"env": dict(os.environ), "fds": [fd for fd in fds if os.path.exists(f"/proc/self/fd/{fd}")],
                  "cwd": os.getcwd(), "mode": oct(os.stat(".").st_mode & 0o777), "umask": oct(os.umask(0)),
                  "stdin": os.readlink("/proc/self/fd/0"), "session": os.getsid(0) == os.getpid(),
                  "ignored": [line for line in open("/proc/self/status") if line.startswith(("SigIgn", "SigBlk"))]}))
"""
    fleet = commands({"c": script(text, environment={"MODE": "a b=c"}, input="none"),
                      "path": script("import os; print(os.environ['PATH'])", environment={"PATH": "/bin"})})
    got = json.loads(output(fleet, "c", b"").text)
    home = got["env"]["HOME"]
    # Python adds LC_CTYPE to its own environment where LANG is C
    assert {**got["env"], "LANG": "", "LC_CTYPE": ""} == {
        "PATH": os.environ["PATH"], "LANG": "", "LC_CTYPE": "", "HOME": home, "TMPDIR": home + "/tmp", "MODE": "a b=c"}
    assert got["cwd"] == home and home.startswith(str(fleet.scratch) + "/millrace-run-") and got["mode"] == "0o700"
    assert got["fds"] == [0, 1, 2] and got["stdin"] == "/dev/null" and got["session"] and got["umask"] == "0o77"
    own = sum(1 << (number - 1) for number in (signal.SIGPIPE, signal.SIGXFSZ, 32, 33))  # of Python, and of the C library
    assert [int(line.split()[1], 16) & ~own for line in got["ignored"]] == [0, 0]
    assert output(fleet, "path").content == b"/bin\n"


def test_names_in_its_output_have_a_limit(commands):
    text = """
import os, sys
os.chdir(sys.argv[1])
for _ in range(15): os.mkdir("d" * 250); os.chdir("d" * 250)
for i in range(5000): open(f"{i:0200}", "w")
"""
    fleet = commands({"c": script(text, more=["{out}"], output="directory")})
    failed(fleet, "c", "command-failed", "names in the output folder have more than 16777216 bytes")
    eventually(lambda: fleet.runs() == [])


def test_its_memory_has_a_limit(commands):
    take = "import sys; x = bytearray(int(sys.argv[1]) << 20); print(len(x) >> 20)"
    fleet = commands({"c": script(take, more=["{mib}"], memory_mib=200, parameters={"mib": {"pattern": "[0-9]+"}})})
    assert output(fleet, "c", mib=100).content == b"100\n"
    failed(fleet, "c", "command-failed", "MemoryError", mib=300)


def test_a_flood_of_output_is_cut_off(commands, tmp_path):
    flood = "import sys\nwhile True: sys.{}.buffer.write(b'x' * 65536)"
    fleet = commands({"out": script(flood.replace("{}", "stdout")),
                      "err": script("import sys\nfor _ in range(2000): sys.stderr.write('x' * 65536)\n"
                                    "sys.stdout.write('fine')"),
                      "file": script("import sys; f = open(sys.argv[1], 'wb')\nwhile True: f.write(b'x' * 65536)",
                                     more=["{out}"], output="file"),
                      "folder": script("import sys\nfor i in range(3): open(f'{sys.argv[1]}/{i}', 'wb').write(b'x' * 900000)",
                                       more=["{out}"], output="directory")},
                     MILLRACE_RESULT_MAX=1_000_000)
    assert failed(fleet, "out", "result-too-large", "1000000")["attempt"] == 1
    assert output(fleet, "err").content == b"fine"
    failed(fleet, "file", "command-failed", "File too large")
    failed(fleet, "folder", "result-too-large", "1000000")
    eventually(lambda: fleet.runs() == [])


# ---- as a user of its own ------------------------------------------------------------------------------

NOBODY = 65534


@pytest.fixture
def nobody(commands, monkeypatch):
    """The same with a worker that is not root, may have 250 processes, and has a place where it may write: .place."""
    if os.getuid():
        pytest.skip("only root can become somebody else")
    with tempfile.TemporaryDirectory(prefix="millrace-nobody-") as place:
        os.chmod(place, 0o777)
        wrapper = os.path.join(place, "millrace-worker")
        with open(wrapper, "w", encoding="ascii") as file:
            file.write(f"#!/bin/sh\nexec prlimit --nproc=250 setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups "
                       f'{BUILD}/millrace-worker "$@"\n')
        os.chmod(wrapper, 0o755)
        scratch = os.path.join(place, "scratch")
        os.mkdir(scratch)
        os.chmod(scratch, 0o777)
        monkeypatch.setenv("TMPDIR", scratch)

        def start(entries):
            path = os.path.join(place, "commands.json")
            with open(path, "w", encoding="utf-8") as file:
                json.dump(entries, file)
            fleet = commands(entries, worker=False, MILLRACE_BLOB_DIR="")
            fleet.place, fleet.runs = place, lambda: os.listdir(scratch)
            fleet.build = place
            fleet.start_worker(MILLRACE_COMMANDS_FILE=path, MILLRACE_KINDS="command",
                               MILLRACE_READY_FILE=os.path.join(place, "ready"), wait=False)
            return fleet
        monkeypatch.setenv("TMPDIR", scratch)
        yield start


def test_a_user_without_rights_cleans_up_as_well(nobody):
    text = """
import os
os.mkdir("shut"); os.mkdir("shut/inner"); open("shut/inner/file", "w"); os.chmod("shut/inner", 0); os.chmod("shut", 0)
os.chmod("tmp", 0); os.chmod(".", 0)
print(os.getuid())
"""
    fleet = nobody({"c": script(text)})
    assert output(fleet, "c").content == b"%d\n" % NOBODY
    eventually(lambda: fleet.runs() == [])


def test_a_user_without_rights_ends_the_whole_tree_as_well(nobody):
    family_place = tempfile.mkdtemp(prefix="millrace-family-")
    os.chmod(family_place, 0o777)
    try:
        place = pathlib.Path(family_place)
        fleet = nobody({"c": family(place)})
        job = fleet.submit("command", b"x", command="c")
        pids = pids_of(place)
        fleet.call("DELETE", f"/jobs/{job}")
        expect_nothing_left(fleet, pids)
    finally:
        shutil.rmtree(family_place)


# Parent and children go on to fork, more than one process after the other could be ended.
BOMB = """
import os, sys, time
if os.fork() == 0:
    while True:
        try:
            if os.fork() == 0 and sys.argv[1] == "sessions": os.setsid()
        except OSError: pass
time.sleep(1)
print("done")
"""


@pytest.mark.parametrize("how", ["group", "sessions"])
def test_what_forks_without_end_is_ended_with_its_run(nobody, how):
    fleet = nobody({"c": script(BOMB, more=[how], memory_mib=256)})
    assert output(fleet, "c").content == b"done\n"
    eventually(lambda: fleet.runs() == [])


def test_the_workers_passwords_are_out_of_reach(nobody):
    text = """
import os
up = os.getppid()
def parent(pid):
    with open(f"/proc/{pid}/stat") as file: return int(file.read().rsplit(")", 1)[1].split()[1])
for who in (up, parent(up), parent(parent(up))):  # guard, executor, worker
    try: print(len(open(f"/proc/{who}/environ").read()) > 0)
    except OSError as error: print(error.strerror)
"""
    fleet = nobody({"c": script(text)})
    assert output(fleet, "c").content == b"Permission denied\n" * 3


# ---- what a client may say ---------------------------------------------------------------------------


def test_a_value_stays_one_argument_whatever_is_in_it(commands, tmp_path):
    fleet = commands({"c": script("import json, sys; print(json.dumps(sys.argv[1:]))", more=["--text={text}", "{{{text}}}"],
                                  parameters={"text": {"pattern": ".*", "default": "none given"}})})
    marker = tmp_path / "marker"
    for text in (f"$(touch {marker})", f"; touch {marker}", f"`touch {marker}`", "a b\"'*?", "-rf", "", "größe"):
        assert json.loads(output(fleet, "c", text=text).text) == [f"--text={text}", f"{{{text}}}"]
    assert json.loads(output(fleet, "c").text)[0] == "--text=none given"
    assert not marker.exists()


def test_values_that_do_not_match_are_refused_at_the_gateway(commands):
    fleet = commands({"c": {"argv": ["/bin/echo", "{size}", "{mode}"],
                            "parameters": {"size": {"pattern": "[0-9]{1,4}"}, "mode": {"pattern": "a|b", "default": "a"}}}},
                     worker=False)

    def post(**params):
        return fleet.call("POST", "/jobs/command", params={"command": "c", **params}, data=b"x")

    for size in ("$(id)", "; rm -rf /", "-1", "12345", "1 2", "", "1|2"):
        refused(post(size=size), 400, "bad-parameter", "size of the command c must match [0-9]{1,4}")
    refused(post(size="1\n2"), 400, "bad-parameter", "control characters")
    for mode in ("ab", "xa", "bx", ""):
        refused(post(size=1, mode=mode), 400, "bad-parameter", "mode of the command c must match a|b")
    refused(post(), 400, "bad-parameter", "size is missing")
    refused(post(size=1, other=2), 400, "bad-parameter", "has no parameter 'other'")
    refused(post(size=1, command="d"), 400, "bad-parameter", "there is no command 'd'")
    refused(fleet.call("POST", "/jobs/command", data=b"x"), 400, "bad-parameter", "command is missing")
    for name in ("../x", "/etc/passwd", "..", ".", "a/b", "-x"):
        refused(post(size=1, name=name), 400, "bad-parameter", "name must be that of a file")
    assert post(size=1).status_code == 202


def test_without_a_list_there_are_no_commands(servers, make_fleet):
    fleet = make_fleet(servers)
    fleet.start_gateway()
    refused(fleet.call("POST", "/jobs/command?command=c", data=b"x"), 400, "bad-parameter", "MILLRACE_COMMANDS_FILE")
    worker = fleet.start_worker()
    assert not worker.events("kind-not-served")
    named = fleet.start_worker(wait=False, MILLRACE_KINDS="command")
    assert named.wait() == 2 and "MILLRACE_COMMANDS_FILE no commands" in named.log()


@pytest.mark.parametrize("text, words", [
    ('{"c": {"argv": ["echo"]}}', "command 'c', argv: the program must be an absolute path"),
    ('{"c": {"argv": ["/bin/echo", "{x}"]}}', "command 'c', argv: {x} stands for no parameter"),
    ('{"c": ', "line 1"),
])
def test_a_bad_list_is_refused_at_start_by_both(servers, make_fleet, tmp_path, text, words):
    path = tmp_path / "list.json"
    path.write_text(text)
    fleet = make_fleet(servers, MILLRACE_COMMANDS_FILE=path)
    for program in (fleet.start_gateway(wait=False), fleet.start_worker(wait=False)):
        assert program.wait() == 2
        assert "list.json" in program.log() and words in program.log()


def test_a_list_that_changes_takes_effect_with_a_restart_alone(commands, tmp_path):
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\necho first\n")
    program.chmod(0o755)
    fleet = commands({"c": {"argv": ["/bin/echo", "first"]}, "gone": {"argv": [str(program)]}})
    worker, = fleet.workers
    assert output(fleet, "c").content == b"first\n"
    program.unlink()
    for text in (json.dumps({"c": {"argv": ["/bin/echo", "second"]}}), '{"c":', None):
        path = tmp_path / "commands.json"
        path.write_text(text) if text else path.unlink()
        old = executor_of(worker)
        os.kill(old, signal.SIGKILL)
        eventually(lambda: not is_alive(old))
        assert output(fleet, "c").content == b"first\n"
        failed(fleet, "gone", "io", "cannot be started", attempts=1)
    assert not worker.events("executor-broken")


def test_programs_that_cannot_be_run_are_refused_by_the_worker_alone(commands, tmp_path):
    plain = tmp_path / "plain"
    plain.write_text("")
    for path, words in (("/nonexistent/x", "is not there"), (str(plain), "cannot be run"), ("/bin", "cannot be run")):
        fleet = commands({"c": {"argv": [path]}}, worker=False)
        worker = fleet.start_worker(wait=False)
        assert worker.wait() == 2 and f"command 'c', argv: the program {path} {words}" in worker.log()


def test_the_program_of_the_executor_answers_for_itself():
    program = os.path.join(BUILD, "millrace-exec-command")
    assert b"MILLRACE_COMMANDS_FILE" in subprocess.run([program, "--help"], capture_output=True, check=True).stdout
    assert subprocess.run([program], capture_output=True, check=False).returncode == 2
