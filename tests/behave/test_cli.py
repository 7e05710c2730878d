# SPDX-License-Identifier: Apache-2.0
"""The client, verb by verb, on a real fleet."""
import hashlib
import json
import os
import pty
import re
import select
import shutil
import signal
import socket
import subprocess
import termios
import time

import numpy
import pytest
from cli import AWAY, INTERRUPTED, JOB, KUBECTL, LOCAL, NOWHERE, PROGRAM, REFUSED, USAGE, Client, environment
from fleet.folder import free_port
from harness import REPOSITORY, Fleet, eventually

UNKNOWN = "01934f00-0000-7000-8000-000000000000"
KEY = "correct-horse-battery"


@pytest.fixture(scope="module")
def fleet(_shared_servers, tmp_path_factory):
    """One for all tests of this file: none of them breaks it."""
    _shared_servers.clear()
    folder = tmp_path_factory.mktemp("fleet")
    fleet = Fleet(_shared_servers, folder)
    keys = folder / "keys"
    keys.write_text(f"tests:{hashlib.sha256(KEY.encode()).hexdigest()}\n")
    fleet.start_gateway(MILLRACE_URL="http://127.0.0.1:8080")  # the client's settings may be in anyone's environment
    fleet.start_gateway(wait=False, MILLRACE_API_KEY_FILE=keys)
    fleet.start_worker(MILLRACE_SLOTS=2)
    yield fleet
    fleet.stop()


@pytest.fixture
def client(fleet):
    return Client(fleet.gateways[0].url)


def chained_sha512(data, iterations):
    for _ in range(iterations):
        data = hashlib.sha512(data).digest()
    return data.hex()


# ---- jobs -------------------------------------------------------------------------


def test_submit_prints_the_id_alone_and_wait_says_how_each_ended(client, tmp_path):
    (tmp_path / "in").write_bytes(b"some bytes")
    first = client.out("submit", "hash", "iterations=3", "-f", tmp_path / "in")
    second = client.out("submit", "spin", "seconds=0.1")
    assert client.out("wait", second, first).splitlines() == [f"{second} completed", f"{first} completed"]
    assert json.loads(client.out("result", first)) == {"value": chained_sha512(b"some bytes", 3)}


def test_an_input_from_a_socket_as_sshd_gives_it(client):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(b"leaf")
        ours.shutdown(socket.SHUT_WR)
        assert client.out("hash", "-", stdin=theirs) == hashlib.sha512(b"leaf").hexdigest()


def test_an_input_from_stdin(client):
    job = client.out("submit", "hash", "iterations=1", "--file", "-", input="piped")
    client.run("wait", job)
    assert json.loads(client.out("result", job))["value"] == chained_sha512(b"piped", 1)


def test_a_json_file_is_sent_as_json(client, tmp_path):
    (tmp_path / "ab.json").write_text('{"A":[[1,2],[3,4]],"B":[[5,6],[7,8]]}')
    job = client.json("submit", "matrix", "-f", tmp_path / "ab.json")["id"]
    assert json.loads(client.out("result", "-w", job)) == {"C": [[19, 22], [43, 50]]}


def test_the_same_idempotency_key_gives_the_same_job(client):
    def submit(seconds, **more):
        return client.run("submit", "spin", f"seconds={seconds}", "--idempotency-key", "once only", **more)

    assert submit(0.01).stdout == submit(0.01).stdout
    assert "422 key-reused" in submit(0.02, status=REFUSED).stderr


def test_status_shows_a_record_and_json_is_the_gateways_own(client, fleet):
    job = client.out("submit", "spin", "seconds=0.01")
    client.run("wait", job)
    shown = client.out("status", job)
    assert f"id         {job}" in shown and "state      completed" in shown and "kind       spin" in shown
    assert client.json("status", job) == fleet.job(job)


def test_a_job_that_was_cancelled_is_exit_status_1(client):
    job = client.out("submit", "spin", "seconds=60")
    client.run("cancel", job)
    assert client.out("wait", job, status=JOB) == f"{job} cancelled"
    assert "cancelled" in client.run("result", "-w", job, status=JOB).stderr


def test_of_several_jobs_one_that_fails_is_enough(client):
    fine, bad = client.out("submit", "spin", "seconds=0.01"), client.out("submit", "spin", "seconds=60")
    client.run("cancel", bad)
    assert client.out("wait", bad, fine, status=JOB).splitlines() == [f"{bad} cancelled", f"{fine} completed"]
    assert len(client.run("--json", "wait", bad, fine, status=JOB).stdout.splitlines()) == 2


def test_a_failed_job_is_retried(client, tmp_path):
    numpy.save(tmp_path / "a.npy", numpy.full((1, 2), 2**62))
    numpy.save(tmp_path / "b.npy", numpy.full((2, 1), 2**62))
    failed = client.run("matmul", tmp_path / "a.npy", tmp_path / "b.npy", "-o", tmp_path / "c.npy", status=JOB)
    assert "failed, overflow: " in failed.stderr and not (tmp_path / "c.npy").exists()
    job = failed.stderr.split()[2]
    assert client.out("retry", job) == f"{job} pending"
    assert client.out("wait", job, status=JOB).startswith(f"{job} failed overflow: ")


def test_what_the_gateway_refuses_is_exit_status_3_and_one_line(client):
    for words in (("status", UNKNOWN), ("wait", UNKNOWN), ("result", UNKNOWN), ("cancel", UNKNOWN), ("retry", UNKNOWN)):
        refused = client.run(*words, status=REFUSED)
        assert refused.stdout == "" and refused.stderr.startswith("millrace: 404 not-found: ")
        assert len(refused.stderr.splitlines()) == 1
    assert "404 not-found" in client.run("submit", "nothing", status=REFUSED).stderr
    assert "400 bad-parameter" in client.run("submit", "spin", "seconds=-1", status=REFUSED).stderr
    assert "404 not-found" in client.run("status", "../stats", status=REFUSED).stderr


def test_a_result_that_is_not_there_yet_is_refused_and_leaves_no_file(client, tmp_path):
    job = client.out("submit", "spin", "seconds=60")
    assert "409 wrong-state" in client.run("result", job, "-o", tmp_path / "r", status=REFUSED).stderr
    client.run("cancel", job)
    assert os.listdir(tmp_path) == []


def test_an_output_that_cannot_be_written_is_exit_status_5(client, tmp_path):
    job = client.out("submit", "hash", "iterations=1", "-f", PROGRAM)
    client.run("wait", job)
    assert "No such file" in client.run("result", job, "-o", tmp_path / "no" / "r", status=LOCAL).stderr
    assert "No space left" in client.run("result", job, "-o", "/dev/full", status=LOCAL).stderr
    with open("/dev/full", "wb") as full:
        ended = subprocess.run([PROGRAM, "result", job], env=client.env, stdout=full, stderr=subprocess.PIPE)
    assert ended.returncode == LOCAL


def test_an_output_replaces_what_a_link_leads_to_and_keeps_the_rest(client, tmp_path):
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    job = client.out("submit", "hash", "iterations=1", "-f", "-", input="x")
    client.run("result", "-w", job, "-o", tmp_path / "link")
    assert json.loads((tmp_path / "real").read_text())["value"] == chained_sha512(b"x", 1)
    assert (tmp_path / "link").is_symlink() and sorted(os.listdir(tmp_path)) == ["link", "real"]


# ---- one command for all of it ---------------------------------------------------


def test_hash_prints_the_digest(client, tmp_path):
    (tmp_path / "f").write_bytes(b"\0" * 1000000)
    assert client.out("hash", tmp_path / "f", "-n", 5) == chained_sha512(b"\0" * 1000000, 5)
    assert client.json("hash", tmp_path / "f") == {"value": chained_sha512(b"\0" * 1000000, 1)}
    assert "No such file" in client.run("hash", tmp_path / "none", status=LOCAL).stderr
    assert "directory" in client.run("hash", tmp_path, status=LOCAL).stderr


def test_matmul_of_a_large_product_equals_numpys(client, tmp_path):
    random = numpy.random.default_rng(4)
    a, b = random.standard_normal((1800, 1300)), random.standard_normal((1300, 1500))
    numpy.save(tmp_path / "A.npy", a)
    numpy.save(tmp_path / "B.npy", b)
    assert client.out("matmul", tmp_path / "A.npy", tmp_path / "B.npy", "-o", tmp_path / "C.npy") == ""
    bound = 2 * 1300 * numpy.finfo(float).eps * (abs(a) @ abs(b))
    assert (abs(numpy.load(tmp_path / "C.npy") - a @ b) <= bound).all()
    assert sorted(os.listdir(tmp_path)) == ["A.npy", "B.npy", "C.npy"]


def test_matmul_says_what_is_wrong_with_its_operands(client, tmp_path):
    numpy.save(tmp_path / "A.npy", numpy.ones((3000, 2000)))
    numpy.save(tmp_path / "B.npy", numpy.ones((3, 2)))
    (tmp_path / "no.npy").write_bytes(b"not an array" * 4000000)
    output = ("-o", tmp_path / "C.npy")
    assert "400 bad-shape" in client.run("matmul", tmp_path / "A.npy", tmp_path / "B.npy", *output, status=REFUSED).stderr
    for _ in range(5):  # refused at its first bytes, while 48 MB are still to come
        refused = client.run("matmul", tmp_path / "no.npy", tmp_path / "A.npy", *output, status=REFUSED)
        assert refused.stderr.startswith("millrace: 400 bad-body: "), refused.stderr
    assert "none.npy" in client.run("matmul", tmp_path / "none.npy", tmp_path / "A.npy", *output, status=LOCAL).stderr
    client.run("matmul", tmp_path / "A.npy", tmp_path / "B.npy", status=USAGE)


def test_a_body_that_is_too_large_is_refused_in_words_not_by_a_broken_pipe(client, tmp_path):
    with open(tmp_path / "large", "wb") as file:
        file.truncate(3 << 30)
    start = time.monotonic()
    assert "413 too-large" in client.run("submit", "hash", "iterations=1", "-f", tmp_path / "large", status=REFUSED).stderr
    assert time.monotonic() - start < 20


def test_ls_lists_the_newest_first_by_kind_state_and_group(client, fleet):
    group = fleet.call("POST", "/groups").json()["id"]
    jobs = [client.out("submit", "spin", "seconds=0.01", f"group={group}") for _ in range(3)]
    client.run("wait", *jobs)
    lines = [line.split() for line in client.out("ls", "--group", group).splitlines()]
    assert lines[0] == ["ID", "KIND", "STATE", "CREATED", "ERROR"]
    assert [line[:3] for line in lines[1:]] == [[job, "spin", "completed"] for job in reversed(jobs)]
    records = client.run("ls", "--json", "-k", "spin", "-s", "completed", "-l", 2).stdout.splitlines()
    assert [json.loads(line)["id"] for line in records] == jobs[:0:-1]
    assert client.run("ls", "--json", "--group", group, "--state", "failed").stdout == ""
    assert client.run("ls", "--state", "nonsense", status=REFUSED).stderr.startswith("millrace: 400 ")


# ---- the fleet ----------------------------------------------------------------------


def test_stats_and_workers_show_the_fleet(client, fleet):
    assert "accepted" in client.out("stats") and "matrix" in client.out("stats")
    jobs = client.json("stats")["jobs"]
    assert jobs["accepted"] == sum(count for name, count in jobs.items() if name != "accepted")
    assert f"{fleet.workers[0].pid}" in client.out("workers")
    assert [worker["pid"] for worker in client.json("workers")] == [fleet.workers[0].pid]


def test_top_is_a_listing_where_there_is_no_terminal(client):
    shown = client.out("top")
    assert "accepted" in shown and "WORKER" in shown and "\033" not in shown
    assert client.json("top")["jobs"]


class Terminal:
    """A pty with the client on it."""

    def __init__(self, client, *words):
        self.master, self.slave = pty.openpty()
        self.before = termios.tcgetattr(self.slave)
        self.process = subprocess.Popen([PROGRAM, *words], env=client.env, stdin=self.slave, stdout=self.slave,
                                        stderr=self.slave, start_new_session=True)
        self.seen = ""

    def expect(self, text, seconds=15):
        end = time.monotonic() + seconds
        while text not in self.seen:
            assert select.select([self.master], [], [], max(0, end - time.monotonic()))[0], self.seen[-2000:]
            self.seen += os.read(self.master, 65536).decode()

    def ended(self):
        """The exit status; the terminal is as it was."""
        self.expect("\033[?1049l")
        status = self.process.wait(20)
        assert termios.tcgetattr(self.slave) == self.before
        os.close(self.master)
        os.close(self.slave)
        return status


def test_top_draws_until_q_and_gives_the_terminal_back(client):
    terminal = Terminal(client, "top", "--every", "0.1")
    terminal.expect("WORKER")
    assert termios.tcgetattr(terminal.slave) != terminal.before
    terminal.seen = ""
    terminal.expect("jobs/s ended")  # drawn again
    os.write(terminal.master, b"q")
    assert terminal.ended() == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_top_gives_the_terminal_back_after_a_signal(client, number):
    terminal = Terminal(client, "top")
    terminal.expect("WORKER")
    terminal.process.send_signal(number)
    assert terminal.ended() == INTERRUPTED


def test_top_ends_when_its_terminal_is_gone(client):
    """Without a controlling terminal no signal tells it."""
    terminal = Terminal(client, "top")
    terminal.expect("WORKER")
    os.close(terminal.slave)
    os.close(terminal.master)
    terminal.process.wait(20)


def test_top_says_that_the_gateway_is_away_and_goes_on(client):
    terminal = Terminal(client, "top", "--url", f"http://127.0.0.1:{free_port()}", "--patience", "0", "--every", "0.1")
    terminal.expect("connect")
    os.write(terminal.master, b"q")
    assert terminal.ended() == 0


# ---- keys, addresses, options ---------------------------------------------------------


def test_a_key_comes_from_an_option_a_file_or_the_environment_and_is_never_shown(fleet, tmp_path):
    gateway = fleet.gateways[1]
    eventually(lambda: Client(gateway.url).run("stats", status=REFUSED), deadline=20)
    (tmp_path / "key").write_text(KEY + "\n")
    none, wrong = Client(gateway.url), Client(gateway.url, MILLRACE_API_KEY="wrong-horse")
    for client, words in ((none, ("--key", KEY)), (none, (f"--key=@{tmp_path / 'key'}",)), (wrong, ("--key", KEY)),
                          (Client(gateway.url, MILLRACE_API_KEY=KEY), ()),
                          (Client(gateway.url, MILLRACE_API_KEY=f"@{tmp_path / 'key'}"), ())):
        assert client.json(*words, "stats")["jobs"]
        assert client.json("stats", *words)["jobs"]
    refused = wrong.run("stats", status=REFUSED)
    assert refused.stderr.startswith("millrace: 401 no-key: ") and "wrong-horse" not in refused.stderr
    assert "No such file" in none.run("--key", f"@{tmp_path}/none", "stats", status=LOCAL).stderr
    assert "secret" not in none.run("--key", "secret\nX: y", "stats", status=USAGE).stderr


def test_options_stand_before_the_verb_or_behind_it_joined_or_apart(client, fleet):
    away, here = f"http://127.0.0.1:{free_port()}", fleet.gateways[0].url
    other = Client(away)
    for words in (("--url", here, "stats"), ("stats", "--url", here), (f"--url={here}", "stats"),
                  ("stats", f"--url={here}/"), ("--url", away, "stats", "--url", here)):
        assert other.json(*words)["jobs"]
    assert client.out("hash", "-n2", "-", input="x") == client.out("hash", "--times=2", "--", "-", input="x")


@pytest.mark.parametrize("words", [
    (), ("nonsense",), ("status",), ("stats", "extra"), ("hash", "f", "-n", "0"), ("hash", "f", "-n"),
    ("hash", "f", "-n", "many"), ("-n", "3", "hash", "f"), ("stats", "--json=yes"), ("stats", "--frob"), ("dead",),
    ("dead", "replay"), ("dead", "bury", "x"), ("submit", "spin", "seconds"), ("completion", "csh"), ("help", "frob"),
    ("--url", "gopher://x", "stats"), ("--url", "127.0.0.1:8080", "stats")])
def test_a_command_line_that_is_none_is_exit_status_2(words):
    ended = subprocess.run([PROGRAM, *words], env=environment(), capture_output=True, text=True)
    assert ended.returncode == USAGE and ended.stdout == "" and ended.stderr


def test_a_gateway_that_is_away_is_exit_status_4(tmp_path):
    client = Client(f"http://127.0.0.1:{free_port()}")
    away = client.run("stats", "--patience", "0", status=AWAY)
    assert client.env["MILLRACE_URL"] in away.stderr and len(away.stderr.splitlines()) == 1
    start = time.monotonic()
    client.run("stats", "--patience", "1", status=AWAY)
    assert 0.3 < time.monotonic() - start < 5


def test_a_gateway_that_comes_back_in_time_was_never_missed(make_fleet, servers):
    fleet = make_fleet(servers)
    gateway = fleet.start_gateway()
    client = Client(gateway.url)
    gateway.kill9()
    late = client.start("submit", "spin", "seconds=0.01", "--patience", "60")
    gateway.start()
    out, _ = late.communicate(timeout=60)
    assert late.returncode == 0 and fleet.job(out.strip())


# ---- Ctrl-C --------------------------------------------------------------------------


def test_ctrl_c_while_waiting_is_exit_status_130_and_the_job_goes_on(client, fleet):
    job = client.out("submit", "spin", "seconds=60")
    waiting = client.start("wait", job)
    eventually(lambda: has_connection(waiting.pid))
    waiting.send_signal(signal.SIGINT)
    _, said = waiting.communicate(timeout=10)
    assert waiting.returncode == INTERRUPTED and said == "millrace: interrupted\n"
    assert fleet.job(job)["state"] in ("pending", "in-progress")
    client.run("cancel", job)


def test_ctrl_c_while_a_product_is_made_names_the_job(client, tmp_path, fleet):
    for name in ("A", "B"):
        numpy.save(tmp_path / f"{name}.npy", numpy.ones((4, 4)))
    blockers = [client.out("submit", "spin", "seconds=60") for _ in range(2)]
    for blocker in blockers:
        fleet.wait_state(blocker, "in-progress")
    before = client.json("stats")["jobs"]["accepted"]
    making = client.start("matmul", tmp_path / "A.npy", tmp_path / "B.npy", "-o", tmp_path / "C.npy")
    eventually(lambda: client.json("stats")["jobs"]["accepted"] > before)
    making.send_signal(signal.SIGINT)
    _, said = making.communicate(timeout=10)
    assert making.returncode == INTERRUPTED and not (tmp_path / "C.npy").exists()
    job = said.split("millrace cancel ")[1].split()[0]
    client.run("cancel", job, *blockers)


def has_connection(pid):
    """It waits on an established connection."""
    sockets = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
    with open(f"/proc/{pid}/net/tcp", encoding="ascii") as file:
        established = {line.split()[9] for line in file if line.split()[3] == "01"}
    return any(name[8:-1] in established for name in sockets if name.startswith("socket:["))


# ---- what is printed from the tables ----------------------------------------------------


def printed(*words):
    return subprocess.run([PROGRAM, *words], env=environment(), capture_output=True, text=True, check=True).stdout


def listed_verbs():
    return [line.split()[0] for line in printed("help").split("\n\n")[2].splitlines()]


def test_help_man_and_completions_know_every_verb():
    pages = [printed(*words) for words in (("man",), ("completion", "bash"), ("completion", "zsh"), ("completion", "fish"))]
    assert {"submit", "status", "wait", "result", "cancel", "retry", "ls", "stats", "workers", "dead", "audit", "top",
            "matmul", "hash", "completion", "help", "version"} <= set(listed_verbs())
    for verb in listed_verbs():
        assert all(verb in page for page in pages), verb
        helped = printed(verb, "--help")
        assert helped.startswith(f"usage: millrace {verb}") and "--url" in helped and helped == printed("help", verb)


def test_every_exit_status_is_in_the_help_the_manual_and_the_docs():
    with open(os.path.join(REPOSITORY, "cli", "exits.def"), encoding="utf-8") as file:
        rows = re.findall(r'^EXIT\(\w+, +(\d+), +"(.*)"\)$', file.read(), re.MULTILINE)
    assert {int(status) for status, _ in rows} == {0, JOB, USAGE, REFUSED, AWAY, LOCAL, NOWHERE, KUBECTL, INTERRUPTED}
    with open(os.path.join(REPOSITORY, "docs", "client.md"), encoding="utf-8") as file:
        pages = [printed("--help"), printed("man").replace("\\-", "-"), file.read()]
    for status, sentence in rows:
        assert all(re.search(rf"\b{status}\b.{{0,9}}{re.escape(sentence)}", page, re.DOTALL) for page in pages), sentence


def test_the_version_is_told():
    for words in (("version",), ("--version",), ("stats", "--version")):
        assert printed(*words).startswith("millrace ")


@pytest.mark.skipif(not shutil.which("man"), reason="needs man")
def test_the_manual_page_is_one(tmp_path):
    (tmp_path / "millrace.1").write_text(printed("man"))
    shown = subprocess.run(["man", "--warnings", "-l", tmp_path / "millrace.1"], capture_output=True, text=True,
                           env={**os.environ, "LC_ALL": "C.UTF-8", "MANWIDTH": "100"})
    assert shown.returncode == 0 and shown.stderr == ""
    assert "EXIT STATUS" in shown.stdout and "--patience SECONDS" in shown.stdout


def complete_in_bash(line):
    """What bash offers at the end of the line."""
    script = ('source <("$1" completion bash); COMP_WORDS=($2); [[ $2 == *" " ]] && COMP_WORDS+=("");'
              "COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _millrace; printf '%s\\n' \"${COMPREPLY[@]}\"")
    return subprocess.run(["bash", "-c", script, "-", PROGRAM, line], capture_output=True, text=True,
                          check=True).stdout.splitlines()


def test_bash_completes_verbs_options_and_words(tmp_path):
    (tmp_path / "photo.jpg").write_text("")
    assert complete_in_bash("millrace st") == ["status", "stats"]
    assert complete_in_bash("millrace --url http://x ca") == ["cancel"]
    assert complete_in_bash("millrace matmul --out") == ["--output"]
    assert complete_in_bash("millrace hash --pat") == ["--patience"]
    assert complete_in_bash("millrace dead ") == ["ls", "replay"]
    assert complete_in_bash("millrace ls --state ") == ["pending", "in-progress", "retrying", "completed", "failed",
                                                        "cancelled"]
    assert complete_in_bash(f"millrace hash {tmp_path}/ph") == [f"{tmp_path}/photo.jpg"]
    (tmp_path / "phot o.jpg").write_text("")
    for line in (f"millrace hash {tmp_path}/ph", f"millrace submit hash --file {tmp_path}/ph"):
        assert sorted(complete_in_bash(line)) == [f"{tmp_path}/phot o.jpg", f"{tmp_path}/photo.jpg"]
    assert set(complete_in_bash("millrace help ")) == set(listed_verbs())


@pytest.mark.skipif(not shutil.which("fish"), reason="needs fish")
def test_fish_completes_them_too(tmp_path):
    (tmp_path / "script").write_text(printed("completion", "fish"))

    def complete(line):
        offered = subprocess.run(["fish", "-c", f"source {tmp_path}/script; complete -C '{line}'"], capture_output=True,
                                 text=True, check=True, env={**os.environ, "HOME": str(tmp_path)}).stdout
        return [each.split("\t")[0] for each in offered.splitlines()]

    assert sorted(complete("millrace st")) == ["stats", "status"]
    assert complete("millrace matmul --out") == ["--output"]
    assert complete("millrace dead r") == ["replay"]
    assert "--patience" in complete("millrace hash --pat")


@pytest.mark.skipif(not shutil.which("zsh"), reason="needs zsh")
def test_zsh_reads_its_script(tmp_path):
    (tmp_path / "_millrace").write_text(printed("completion", "zsh"))
    loaded = subprocess.run(["zsh", "-fc", f"fpath=({tmp_path} $fpath); autoload -U compinit; compinit -D -u; "
                             "echo $_comps[millrace]; autoload +X _millrace && echo loaded"],
                            capture_output=True, text=True, check=True)
    assert loaded.stdout.split() == ["_millrace", "loaded"] and not loaded.stderr
