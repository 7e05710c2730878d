# SPDX-License-Identifier: Apache-2.0
"""millrace map: folders in, folders out, whatever happens to the client in between."""

import fcntl
import hashlib
import html.parser
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import termios
import threading
import xml.dom.minidom

import pytest
from PIL import Image

from harness import BUILD, REPOSITORY, eventually

SLOW = 400000  # iterations: some tens of ms of work a file


@pytest.fixture
def fleet(fleet):
    fleet.start_gateway()
    fleet.start_worker(MILLRACE_SLOTS=2)
    return fleet


@pytest.fixture
def folders(tmp_path):
    """An empty dataset, and where its output goes."""
    dataset = tmp_path / "dataset"
    dataset.mkdir()
    return dataset, tmp_path / "output"


def fill(dataset, count, start=0):
    for number in range(start, start + count):
        (dataset / f"leaf-{number:03}.txt").write_bytes(b"leaf %d" % number)


class Map:
    """A client under way; all it says is kept."""

    def __init__(self, fleet, dataset, output, *options):
        env = {key: value for key, value in os.environ.items() if not key.startswith("MILLRACE_")}
        if fleet:
            env["MILLRACE_URL"] = fleet.gateways[0].url
        self.output = output
        self._process = subprocess.Popen(
            [os.path.join(BUILD, "millrace"), "map", *map(str, options), str(dataset), str(output)],
            env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            errors="replace")

    def send(self, number):
        self._process.send_signal(number)

    def end(self, seconds=90):
        try:
            self.out, self.err = self._process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self.out, self.err = self._process.communicate()
            raise AssertionError(f"map goes on for {seconds} s: {self.out} {self.err}") from None
        return self._process.returncode

    def wait_outputs(self, least):
        eventually(lambda: len(outputs(self.output)) >= least, deadline=60, what=f"{least} outputs")


def run_map(fleet, dataset, output, *options, status=0):
    client = Map(fleet, dataset, output, *options)
    assert client.end() == status, f"{client.out}\n{client.err}"
    return client


def outputs(output):
    """Relative name -> (inode, mtime) of all files but the state and the report."""
    found = {}
    for folder, below, names in os.walk(output):
        if ".millrace" in below:
            below.remove(".millrace")
        for name in names:
            path = os.path.join(folder, name)
            try:
                there = os.stat(path)
            except FileNotFoundError:
                continue
            found[os.path.relpath(path, output)] = (there.st_ino, there.st_mtime_ns)
    found.pop("report.html", None)
    return found


def expected(data, iterations):
    for _ in range(iterations):
        data = hashlib.sha512(data).digest()
    return data.hex()


def journal(output, word):
    """The fields of all lines that begin so."""
    lines = (output / ".millrace" / "journal").read_text(errors="surrogateescape").splitlines()
    return [line.split("\t")[1:] for line in lines if line.split("\t")[0] == word]


def accepted(fleet):
    return fleet.stats()["jobs"]["accepted"]


# ---- a whole run ----------------------------------------------------------------


def test_every_file_has_its_result_under_its_name(fleet, folders):
    dataset, output = folders
    files = {"oak.txt": b"oak", "deep/er/elm.bin": b"elm", "with space/ünïcode ☘.dat": b"u", "no-extension": b"n",
             "a.txt": b"1", "a.bin": b"2"}
    for name, content in files.items():
        (dataset / name).parent.mkdir(parents=True, exist_ok=True)
        (dataset / name).write_bytes(content)
    (dataset / ".hidden").write_bytes(b"no")
    (dataset / "link.txt").symlink_to(dataset / "oak.txt")
    (dataset / "circle").symlink_to(dataset)
    client = run_map(fleet, dataset, output, "--kind", "hash", "--param", "iterations=3")
    names = {"oak.json": b"oak", "deep/er/elm.json": b"elm", "with space/ünïcode ☘.json": b"u",
             "no-extension.json": b"n", "a.txt.json": b"1", "a.bin.json": b"2", "link.json": b"oak"}
    assert set(outputs(output)) == set(names)
    for name, content in names.items():
        assert json.loads((output / name).read_text()) == {"value": expected(content, 3)}, name
    assert "7 of 7 files done, 0 failed" in client.out
    assert "speed-up over serial" in client.out and str(output / "report.html") in client.out
    assert "1 hidden, 1 links" in client.err
    group = fleet.call("GET", f"/groups/{journal(output, 'group')[0][0]}").json()
    assert group["state"] == "ended" and group["jobs"]["completed"] == 7


def test_names_of_any_bytes_come_through(make_fleet, servers, folders, tmp_path):
    """Each file through a program that hands it on as it is, and finds it under a name that is no trap."""
    dataset, output = folders
    entry = {"argv": ["/bin/cp", "-r", "{in}", "{out}"], "input": "directory", "output": "directory"}
    (tmp_path / "commands.json").write_text(json.dumps({"copy": entry}))
    fleet = make_fleet(servers, MILLRACE_COMMANDS_FILE=tmp_path / "commands.json")
    fleet.start_gateway()
    fleet.start_worker(MILLRACE_KINDS="command", MILLRACE_SLOTS=2)
    names = [b"line\nbreak", b"tab\t", b"q\"uo'te", b"bad\xff\xfe.bin", b"-rf", b"--help", b"x" * 255, b"*", b"$(id)`x`",
             b"<script>alert(1)<", b"back\\slash\\n", b"esc\x1b[31m", b"high\xc2\x9b31m", b"a b&c=d#e?%41", b" ", b"~",
             b"y" * 250 + b".\xe2\x98\x98"]
    for name in names:
        with open(os.path.join(os.fsencode(dataset), name), "wb") as file:
            file.write(b"content of " + name)
    client = run_map(fleet, dataset, output, "--command", "copy", "--json")
    assert json.loads(client.out)["done"] == len(names)
    for name in names:
        with open(os.path.join(os.fsencode(output), name), "rb") as file:
            assert file.read() == b"content of " + name
    client = run_map(fleet, dataset, tmp_path / "other", "--command", "copy", "--dry-run")
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", client.out) and len(client.out.splitlines()) == len(names) + 1


def test_failures_are_named_and_make_the_exit_status_1(fleet, folders):
    dataset, output = folders
    fill(dataset, 3)
    (dataset / "empty").write_bytes(b"")
    client = run_map(fleet, dataset, output, "-k", "hash", "-p", "iterations=1", status=1)
    assert "failed: empty: bad-body: " in client.out and "3 of 4 files done, 1 failed" in client.out
    assert len(outputs(output)) == 3
    page = (output / "report.html").read_text()
    assert "empty" in page and "bad-body" in page


def test_an_output_that_cannot_have_its_name_is_a_failure_that_stays(fleet, folders):
    dataset, output = folders
    fill(dataset, 2)
    name = "x" * 251 + ".txt"  # with .json it is longer than a name may be
    (dataset / name).write_bytes(b"long")
    client = run_map(fleet, dataset, output, "-k", "hash", "-p", "iterations=1", "--json", status=1)
    summary = json.loads(client.out)
    assert (summary["done"], summary["failed"], summary["ended_now"]) == (2, 1, 3)
    assert [(one["name"], one["code"]) for one in summary["failures"]] == [(name, "io")]
    client = run_map(fleet, dataset, output, "--resume", status=1)
    assert f"failed: {name}: io: " in client.out and accepted(fleet) == 3


def test_a_job_that_fails_on_the_fleet_is_named_with_its_reason(fleet, folders):
    dataset, output = folders
    fill(dataset, 2)
    client = run_map(fleet, dataset, output, "-k", "hash", "-p", f"iterations={10 ** 12}", "--timeout", 1, "--retries",
                     1, "--json", status=1)
    summary = json.loads(client.out)
    assert (summary["files"], summary["done"], summary["failed"]) == (2, 0, 2)
    assert [one["name"] for one in summary["failures"]] == ["leaf-000.txt", "leaf-001.txt"]
    assert {one["code"] for one in summary["failures"]} == {"timeout"}
    assert summary["cpu_seconds"] >= 1.5


def test_parameters_that_are_refused_end_the_run_at_once(fleet, folders):
    dataset, output = folders
    fill(dataset, 20)
    for options, word in ((("-k", "hash", "-p", "iterations=0"), "iterations"), (("-k", "nonsense"), "nonsense")):
        client = run_map(fleet, dataset, output, *options, status=3)
        assert word in client.err and "to go on" not in client.err
    run_map(fleet, dataset, output, "-k", "hash", "-p", "iterations=1")  # what never began is in nobody's way


def test_what_was_mistyped_is_no_run_that_has_to_be_gone_on_with(fleet, folders):
    dataset, output = folders
    fill(dataset, 3)
    options = ("-k", "hash", "-p", "iterations=1")
    client = run_map(fleet, dataset, output, *options, "--joblog", output / "none" / "log", status=5)
    assert "none/log: No such file or directory" in client.err
    run_map(fleet, dataset, output, *options, "--url", "http://127.0.0.1:1", "--patience", 0, status=4)
    run_map(fleet, dataset, output, *options)
    assert len(outputs(output)) == 3


def test_the_words_to_go_on_with_are_those_of_a_shell(fleet, tmp_path):
    dataset, output = tmp_path / "it's\n\tmine \033[1m", tmp_path / "o u t" / ("x" * 250) / ("y" * 250) / ("z" * 250)
    dataset.mkdir()
    fill(dataset, 3)
    (dataset / "empty").write_bytes(b"")
    client = run_map(fleet, dataset, output, "-k", "hash", "-p", "iterations=1", "-j", 1, "--halt", "now,fail=1",
                     "--url", fleet.gateways[0].url, status=1)
    words = re.search("to go on: millrace(.*)", client.err).group(1)
    ended = subprocess.run(f"{BUILD}/millrace {words}", shell=True, executable="/bin/bash", capture_output=True,
                           text=True, timeout=60)
    assert ended.returncode == 1 and "3 of 4 files done, 1 failed" in ended.stdout, ended.stderr


def test_a_dataset_without_files_is_done(fleet, folders):
    assert "0 of 0 files done" in run_map(fleet, *folders, "-k", "hash", "-p", "iterations=1").out


def test_a_folder_of_images_is_turned_and_scaled_and_broken_ones_are_named(fleet, folders):
    dataset, output = folders
    subprocess.run([sys.executable, os.path.join(REPOSITORY, "tools", "make_dataset.py"), str(dataset)], check=True)
    client = run_map(fleet, dataset, output, "--ops", "rotate:90,scale:0.5", status=1)
    assert "16 of 19 files done, 3 failed" in client.out
    for name in ("empty.jpg", "herbs/cut short.jpg", "small/notes.png"):
        assert f"failed: {name}: bad-body: " in client.out
    for name, size in (("oak.jpg", (240, 320)), ("herbs/sage leaf.png", (150, 250)), ("scans/moss.tif", (150, 200)),
                       ("Blüten/椿 camellia.webp", (240, 240)), ("turned/ivy.jpg", (300, 200))):
        assert Image.open(output / name).size == size, name
    page = (output / "report.html").read_text()
    xml.dom.minidom.parseString(page.replace("<!DOCTYPE html>", ""))
    assert page.count("<figure>") >= 8 and page.count("data:image/jpeg;base64,") == 2 * page.count("<figure>")
    assert len(page) < 300_000


def test_a_program_as_people_have_them_runs_on_every_file(make_fleet, servers, folders, tmp_path):
    """The example's script goes by the extension of the name that it finds, and names its output the same."""
    dataset, output = folders
    example = os.path.join(REPOSITORY, "examples", "process")
    with open(os.path.join(example, "commands.json"), encoding="utf-8") as file:
        commands = file.read().replace("/opt/process/", example + "/")
    (tmp_path / "commands.json").write_text(commands)
    fleet = make_fleet(servers, MILLRACE_COMMANDS_FILE=tmp_path / "commands.json")
    fleet.start_gateway()
    fleet.start_worker(MILLRACE_KINDS="command", MILLRACE_SLOTS=2)
    (dataset / "below").mkdir()
    for name in ("oak.png", "below/-sage.jpg", "ivy.webp"):
        Image.new("RGB", (40, 20), "green").save(dataset / name)
    (dataset / "broken.png").write_bytes(b"no picture")
    client = run_map(fleet, dataset, output, "--command", "process", status=1)
    assert "3 of 4 files done, 1 failed" in client.out
    assert "UnidentifiedImageError" in client.out, client.out.splitlines()
    assert sorted(outputs(output)) == ["below/-sage.jpg", "ivy.webp", "oak.png"]
    for name, kind in (("oak.png", "PNG"), ("below/-sage.jpg", "JPEG"), ("ivy.webp", "WEBP")):
        assert Image.open(output / name).format == kind


def test_images_that_would_meet_in_one_format_are_kept_apart(fleet, folders):
    dataset, output = folders
    Image.new("RGB", (40, 30), (9, 90, 9)).save(dataset / "oak.png")
    Image.new("RGB", (30, 40), (9, 90, 9)).save(dataset / "oak.jpg")
    run_map(fleet, dataset, output, "--ops", "convert:webp")
    assert set(outputs(output)) == {"oak.png.webp", "oak.jpg.webp"}
    assert Image.open(output / "oak.png.webp").size == (40, 30)
    assert Image.open(output / "oak.jpg.webp").format == "WEBP"


# ---- plan -------------------------------------------------------------------------


def test_dry_run_shows_the_plan_and_writes_nothing(folders):
    dataset, output = folders
    fill(dataset, 3)
    (dataset / "leaf-000.bin").write_bytes(b"twin")
    client = run_map(None, dataset, output, "--dry-run", "-k", "hash", "-p", "iterations=7")
    assert "leaf-000.txt  (6 bytes) -> leaf-000.txt.json\n" in client.out
    assert "leaf-001.txt  (6 bytes) -> leaf-001.json\n" in client.out
    assert "4 of 4 files to do, each as POST /jobs/hash?iterations=7, at most 64 at a time" in client.out
    assert not output.exists()


@pytest.mark.parametrize("output", ["dataset", "dataset/below", "."])
def test_folders_that_contain_each_other_are_refused(tmp_path, folders, output):
    client = run_map(None, folders[0], tmp_path / output, "-k", "hash", "-p", "iterations=1", status=2)
    assert " lies in " in client.err
    assert not list(folders[0].iterdir())


def test_a_way_through_a_folder_that_is_not_there_leads_nowhere(tmp_path, folders):
    client = run_map(None, folders[0], tmp_path / "none" / ".." / "dataset" / "below", "-k", "spin", status=5)
    assert "cannot be reached: No such file" in client.err
    assert not list(folders[0].iterdir()) and not (tmp_path / "none").exists()


@pytest.mark.parametrize("options,word", [
    (("-p", "iterations=1"), "--kind is missing"), ((), "what is to be done"), (("-k", "hash", "-p", "x"), "NAME=VALUE"),
    (("-k", "hash", "--halt", "later"), "--halt"), (("-k", "hash", "--ops", "flip"), "--kind image"),
    (("-k", "hash", "-j", "0"), "--jobs")])
def test_a_wrong_command_line_is_refused(folders, options, word):
    assert word in run_map(None, *folders, *options, status=2).err
    assert not (folders[1] / ".millrace" / "journal").exists()


# ---- going on ------------------------------------------------------------------------


def test_resume_after_kill_9_redoes_nothing_and_runs_nothing_twice(fleet, folders):
    dataset, output = folders
    fill(dataset, 60)
    client = Map(fleet, dataset, output, "-k", "hash", "-p", f"iterations={SLOW}", "-j", 8)
    client.wait_outputs(12)
    client.send(signal.SIGKILL)
    client.end()
    before = outputs(output)
    assert 12 <= len(before) < 60
    client = run_map(fleet, dataset, output, "--resume")
    after = outputs(output)
    assert len(after) == 60 and "60 of 60 files done" in client.out
    assert {name: after[name] for name in before} == before
    assert accepted(fleet) == 60 and fleet.stats()["jobs"]["completed"] == 60
    assert len(journal(output, "group")) == 1
    assert json.loads((output / "leaf-059.json").read_text()) == {"value": expected(b"leaf 59", SLOW)}


def test_resume_again_and_again_with_kills_at_any_moment(fleet, folders):
    dataset, output = folders
    fill(dataset, 80)
    kills = 0
    for least in range(0, 80, 8):
        client = Map(fleet, dataset, output, "-k", "hash", "-p", "iterations=20000", "-j", 6, "--resume")
        eventually(lambda: len(outputs(output)) >= least or client._process.poll() is not None, deadline=60, every=0.001)
        client.send(signal.SIGKILL)
        kills += client.end() == -signal.SIGKILL
    assert kills >= 3
    run_map(fleet, dataset, output, "--resume")
    assert len(outputs(output)) == 80
    assert accepted(fleet) == 80
    assert not os.listdir(output / ".millrace" / "tmp")


def test_resume_without_a_state_starts_fresh_and_a_state_without_resume_is_refused(fleet, folders):
    dataset, output = folders
    fill(dataset, 2)
    run_map(fleet, dataset, output, "--resume", "-k", "hash", "-p", "iterations=1")
    before = outputs(output)
    client = run_map(fleet, dataset, output, "-k", "hash", "-p", "iterations=1", status=2)
    assert "--resume" in client.err
    client = run_map(fleet, dataset, output, "--resume", "-k", "hash", "-p", "iterations=2", status=2)
    assert "iterations=1" in client.err
    run_map(fleet, dataset, output, "--resume", "-k", "hash", "-p", "iterations=1")
    assert outputs(output) == before and accepted(fleet) == 2


def test_resume_does_what_changed_what_is_new_and_what_was_lost(fleet, folders):
    dataset, output = folders
    fill(dataset, 4)
    run_map(fleet, dataset, output, "-k", "hash", "-p", "iterations=1")
    before = outputs(output)
    (dataset / "leaf-000.txt").write_bytes(b"changed")
    (dataset / "leaf-001.txt").unlink()
    (output / "leaf-002.json").unlink()
    (dataset / "leaf-003.bin").write_bytes(b"new")
    client = run_map(fleet, dataset, output, "--resume")
    after = outputs(output)
    assert json.loads((output / "leaf-000.json").read_text()) == {"value": expected(b"changed", 1)}
    assert json.loads((output / "leaf-002.json").read_text()) == {"value": expected(b"leaf 2", 1)}
    assert json.loads((output / "leaf-003.bin~2.json").read_text()) == {"value": expected(b"new", 1)}
    assert {name for name in before if after[name] == before[name]} == {"leaf-001.json", "leaf-003.json"}
    assert accepted(fleet) == 7 and "4 of 4 files done" in client.out


def test_resume_failed_does_the_failed_ones_again(fleet, folders):
    dataset, output = folders
    fill(dataset, 3)
    (dataset / "empty").write_bytes(b"")
    os.utime(dataset / "empty", (1, 1))
    run_map(fleet, dataset, output, "-k", "hash", "-p", "iterations=1", status=1)
    before = outputs(output)
    assert "1 failed" in run_map(fleet, dataset, output, "--resume", status=1).out
    assert len(journal(output, "failed")) == 1
    assert "1 failed" in run_map(fleet, dataset, output, "--resume-failed", status=1).out
    assert len(journal(output, "failed")) == 2
    (dataset / "empty").write_bytes(b"full")
    run_map(fleet, dataset, output, "--resume-failed")
    after = outputs(output)
    assert set(after) - set(before) == {"empty.json"}
    assert {name: after[name] for name in before} == before


def test_files_that_ran_out_of_time_are_given_more_when_the_run_goes_on(fleet, folders):
    dataset, output = folders
    fill(dataset, 2)
    run_map(fleet, dataset, output, "-k", "hash", "-p", "iterations=4000000", "--timeout", 1, "--retries", 1, status=1)
    assert len(journal(output, "failed")) == 2
    client = run_map(fleet, dataset, output, "--dry-run", "--resume-failed", "--timeout", 60)
    assert "POST /jobs/hash?iterations=4000000&attempts=1&timeout=60," in client.out
    run_map(fleet, dataset, output, "--resume-failed", "--timeout", 60)
    assert json.loads((output / "leaf-000.json").read_text())["value"]
    assert journal(output, "limits") == [["1", "1"], ["1", "60"]]
    assert "hash?iterations=4000000&amp;attempts=1&amp;timeout=60" in (output / "report.html").read_text()


def test_two_clients_do_not_work_on_one_output(fleet, folders):
    dataset, output = folders
    fill(dataset, 30)
    first = Map(fleet, dataset, output, "-k", "hash", "-p", f"iterations={SLOW}")
    first.wait_outputs(1)
    second = run_map(fleet, dataset, output, "--resume", status=5)
    assert f"pid {first._process.pid}" in second.err
    assert first.end() == 0


# ---- stopping ---------------------------------------------------------------------------


def test_ctrl_c_waits_for_what_is_under_way(fleet, folders):
    dataset, output = folders
    fill(dataset, 60)
    client = Map(fleet, dataset, output, "-k", "hash", "-p", f"iterations={SLOW}", "-j", 6)
    client.wait_outputs(4)
    client.send(signal.SIGINT)
    assert client.end() == 130
    done = len(outputs(output))
    assert 4 <= done < 60
    assert f"millrace map --resume {dataset} {output}" in client.err
    assert f"{done} of 60 files done, 0 failed, {60 - done} still to do" in client.out
    jobs = fleet.stats()["jobs"]
    assert jobs["accepted"] == jobs["completed"] == done
    assert (output / "report.html").exists()
    run_map(fleet, dataset, output, "--resume")
    assert accepted(fleet) == 60


def test_a_second_ctrl_c_cancels_the_group(fleet, folders):
    dataset, output = folders
    fill(dataset, 6)
    client = Map(fleet, dataset, output, "-k", "hash", "-p", f"iterations={10 ** 11}")
    eventually(lambda: fleet.stats()["jobs"]["in-progress"] == 2, deadline=30)
    client.send(signal.SIGINT)
    client.send(signal.SIGTERM)  # the same one twice may arrive as one
    eventually(lambda: fleet.stats()["jobs"]["cancelled"] >= 4, deadline=30)
    assert client.end() == 130
    assert not outputs(output) and not journal(output, "failed")
    eventually(lambda: fleet.stats()["jobs"]["in-progress"] == 0, deadline=30)
    client = Map(fleet, dataset, output, "--resume")  # the group is closed: another one
    eventually(lambda: fleet.stats()["jobs"]["in-progress"] == 2, deadline=30)
    client.send(signal.SIGTERM)
    client.send(signal.SIGINT)
    client.end()
    assert len(journal(output, "group")) == 2


def test_halt_soon_and_now(fleet, folders):
    dataset, output = folders
    for number in range(40):
        (dataset / f"{number:02}").write_bytes(b"" if number % 2 else b"%d" % number)
    client = run_map(fleet, dataset, output, "-k", "hash", "-p", "iterations=1", "-j", 2, "--halt", "soon,fail=3",
                     status=1)
    failed = len(journal(output, "failed"))
    assert 3 <= failed <= 4 and "still to do" in client.out
    run_map(fleet, dataset, output, "--resume", "--halt", "now,fail=1", "-j", 2, status=1)
    assert failed < len(journal(output, "failed")) <= failed + 2
    client = run_map(fleet, dataset, output, "--resume", status=1)
    assert "20 of 40 files done, 20 failed" in client.out


# ---- what is written ------------------------------------------------------------------------


def test_no_output_is_ever_seen_half_written(fleet, folders):
    dataset, output = folders
    fill(dataset, 300)
    client = Map(fleet, dataset, output, "-k", "hash", "-p", "iterations=1")
    seen, over = [], threading.Event()

    def watch():
        while not over.is_set():
            for name in outputs(output):
                seen.append((name, (output / name).read_bytes()))

    watcher = threading.Thread(target=watch)
    watcher.start()
    status = client.end()
    over.set()
    watcher.join()
    assert status == 0 and len({name for name, _ in seen}) > 100
    whole = {name: (output / name).read_bytes() for name in outputs(output)}
    assert all(content == whole[name] for name, content in seen)


def test_joblog_has_the_columns_of_gnu_parallel(fleet, folders, tmp_path):
    dataset, output = folders
    fill(dataset, 4)
    (dataset / "a\tb").write_bytes(b"")
    log = tmp_path / "log"
    run_map(fleet, dataset, output, "-k", "hash", "-p", "iterations=1", "--joblog", log, status=1)
    head, *rows = [line.split("\t") for line in log.read_text().splitlines()]
    assert head == ["Seq", "Host", "Starttime", "JobRuntime", "Send", "Receive", "Exitval", "Signal", "Command"]
    by_name = {row[8]: row for row in rows}
    assert set(by_name) == {f"leaf-00{n}.txt" for n in range(4)} | {"a?b"}
    assert by_name["a?b"][6] == "1" and by_name["leaf-002.txt"][6] == "0"
    assert by_name["leaf-002.txt"][4] == "6" and int(by_name["leaf-002.txt"][5]) > 128
    assert float(by_name["leaf-002.txt"][2]) > 1.7e9 and by_name["leaf-002.txt"][1] != "-"
    run_map(fleet, dataset, output, "--resume-failed", "--joblog", log, status=1)
    assert len(log.read_text().splitlines()) == 7


class _References(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        self.found += [value for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]
        assert tag not in ("script", "link", "iframe", "object")


def test_the_report_is_one_page_without_references(fleet, folders):
    dataset, output = folders
    fill(dataset, 5)
    (dataset / "<b>&\"'.txt").write_bytes(b"")
    (dataset / b"broken-\xff.txt".decode(errors="surrogateescape")).write_bytes(b"")
    run_map(fleet, dataset, output, "-k", "hash", "-p", "iterations=100000", status=1)
    page = (output / "report.html").read_text()  # it is UTF-8
    xml.dom.minidom.parseString(page.replace("<!DOCTYPE html>", ""))
    references = _References()
    references.feed(page)
    assert all(one.startswith("data:") for one in references.found)
    assert not re.search(r"url\(|@import|https?://", page)
    assert "&lt;b&gt;&amp;" in page and "broken-\ufffd.txt" in page
    assert "<svg" in page and f"{fleet.job(_first_job(fleet, output))['worker'][:6]}" in page
    assert "hash?iterations=100000" in page


def _first_job(fleet, output):
    group = journal(output, "group")[0][0]
    return fleet.call("GET", f"/groups/{group}/ends?after=0&limit=1").json()["ends"][0]["id"]


def test_a_bar_fits_into_a_narrow_terminal(fleet, folders):
    dataset, output = folders
    fill(dataset, 20)
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 20, 0, 0))
    ended = subprocess.run([os.path.join(BUILD, "millrace"), "map", "-k", "hash", "-p", f"iterations={SLOW}", "--url",
                            fleet.gateways[0].url, dataset, output], stderr=slave, stdout=subprocess.PIPE, timeout=60,
                           check=True)
    os.close(slave)
    shown = b""
    while chunk := _read(master):
        shown += chunk
    os.close(master)
    lines = re.split(rb"[\r\n]+(?:\x1b\[K)?", shown)
    assert len(lines) > 5 and max(map(len, lines)) < 20, shown
    assert b"20 of 20 files done" in ended.stdout


def _read(terminal):
    try:
        return os.read(terminal, 65536)
    except OSError:  # nobody has it open any more
        return b""


# ---- trouble -------------------------------------------------------------------------------------


def test_a_gateway_that_restarts_costs_time_alone(fleet, folders):
    dataset, output = folders
    fill(dataset, 40)
    client = Map(fleet, dataset, output, "-k", "hash", "-p", f"iterations={SLOW}", "-j", 8)
    client.wait_outputs(5)
    fleet.gateways[0].kill9()
    fleet.gateways[0].start()
    assert client.end() == 0, client.err
    assert len(outputs(output)) == 40 and accepted(fleet) == 40


def test_a_gateway_that_stays_away_ends_the_run_for_later(fleet, folders):
    dataset, output = folders
    fill(dataset, 40)
    client = Map(fleet, dataset, output, "-k", "hash", "-p", f"iterations={SLOW}", "-j", 4, "--patience", 1)
    client.wait_outputs(3)
    fleet.gateways[0].kill9()
    assert client.end() == 4
    assert "trying again" in client.err and "to go on" in client.err
    fleet.gateways[0].start()
    fleet.gateways[0].wait_ready()
    run_map(fleet, dataset, output, "--resume")
    assert len(outputs(output)) == 40 and accepted(fleet) == 40


def test_a_store_that_loses_everything_is_survived(make_fleet, private_servers, folders):
    dataset, output = folders
    fill(dataset, 40)
    fleet = make_fleet(private_servers)
    fleet.start_gateway()
    fleet.start_worker(MILLRACE_SLOTS=2)
    client = Map(fleet, dataset, output, "-k", "hash", "-p", f"iterations={SLOW}", "-j", 8)
    client.wait_outputs(5)
    private_servers.store().flushall()
    assert client.end(120) == 0, client.err
    for number in range(40):
        assert json.loads((output / f"leaf-{number:03}.json").read_text())


def test_results_that_are_gone_are_computed_again(fleet, folders):
    dataset, output = folders
    fill(dataset, 30)
    client = Map(fleet, dataset, output, "-k", "hash", "-p", f"iterations={SLOW}", "-j", 8)
    client.wait_outputs(3)
    client.send(signal.SIGKILL)
    client.end()
    fleet.servers.store().flushall()  # group, keys and results of what was under way
    run_map(fleet, dataset, output, "--resume")
    assert len(outputs(output)) == 30
