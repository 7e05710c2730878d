# SPDX-License-Identifier: Apache-2.0
"""Kind image through a whole fleet, and its program as it stands in its jail."""

import io
import os

import numpy
import pytest
from PIL import Image

from harness import BUILD, eventually, refused
from test_image import draw, png_bomb, save

INLINE = 262144
PROGRAM = "millrace-exec-image"
IS_SANITIZED = b"__asan_init" in open(os.path.join(BUILD, PROGRAM), "rb").read()


@pytest.fixture
def fleet(servers, make_fleet):
    fleet = make_fleet(servers, MILLRACE_KINDS="image", MILLRACE_BACKOFF_BASE_SECONDS=1)
    return fleet


def start(fleet, **env):
    fleet.start_gateway()
    return fleet.start_worker(**env)


def completed(fleet, job):
    record = fleet.wait_end(job, 30)
    assert record["state"] == "completed", record
    return record["result"]


def loaded(fleet, job):
    answer = fleet.result(job)
    picture = Image.open(io.BytesIO(answer.content))
    picture.load()
    assert answer.headers["Content-Type"] == f"image/{picture.format.lower()}"
    return picture


def executor(worker):
    pid, = [pid for pid in worker.executors() if os.readlink(f"/proc/{pid}/exe").endswith("/" + PROGRAM)]
    return pid


def threads(pid):
    return os.listdir(f"/proc/{pid}/task")


@pytest.mark.parametrize("side, ops, kind", [(64, "rotate:45,scale:0.5", "small"), (64, "scale:20,sharpen", "grows"),
                                             (800, "scale:0.1", "shrinks"), (800, "rotate:90", "large")])
def test_images_go_in_and_come_out_at_any_size(fleet, side, ops, kind):
    start(fleet)
    file = save(draw(side, side, noise=90), "PNG")
    assert (len(file) > INLINE) == (kind in ("shrinks", "large"))
    job = fleet.submit("image", file, ops=ops)
    result = completed(fleet, job)
    assert result["content_type"] == "image/png"
    assert (result["size"] > INLINE) == (kind in ("grows", "large"))
    picture = loaded(fleet, job)
    assert picture.size == {"small": (46, 46), "grows": (1280, 1280), "shrinks": (80, 80), "large": (800, 800)}[kind]
    if kind == "large":
        assert (numpy.asarray(picture) == numpy.asarray(draw(side, side, noise=90).transpose(Image.ROTATE_270))).all()


@pytest.mark.parametrize("ops, words", [
    ("rotate:45,,gray", "operation 2, '', is none of"), ("rotat:45", "operation 1, 'rotat:45', is none of rotate, scale"),
    ("gray,scale:0", "operation 2, 'scale:0', must be scale:FACTOR"), ("crop:1x2", "must be crop:WxH+X+Y"),
    (",".join(["gray"] * 17), "more than 16 operations"), ("convert:png,convert:jpeg", "convert is given more than once")])
def test_operations_that_cannot_be_read_are_refused_at_once(fleet, ops, words):
    fleet.start_gateway()
    answer = fleet.call("POST", "/jobs/image", params={"ops": ops}, data=save(draw(), "PNG"))
    refused(answer, 400, "bad-parameter", words)


@pytest.mark.parametrize("file, words", [(save(draw(noise=50), "JPEG")[:800], "not an image that can be read"), (b"no image", "begins like none"),
                                         (png_bomb(50000, 50000), "50000 x 50000 pixels; the limit is 100000000")],
                         ids=["cut", "text", "bomb"])
def test_what_cannot_be_read_fails_for_good_and_hurts_nobody(fleet, file, words):
    worker = start(fleet)
    completed(fleet, fleet.submit("image", save(draw(), "PNG"), ops="gray"))
    pid = executor(worker)
    record = fleet.wait_end(fleet.submit("image", file, ops="rotate:10"), 30)
    assert (record["state"], record["error"]["code"], record["attempt"]) == ("failed", "bad-body", 1), record
    assert words in record["error"]["detail"]
    completed(fleet, fleet.submit("image", save(draw(), "PNG"), ops="gray"))
    assert executor(worker) == pid


@pytest.mark.skipif(IS_SANITIZED, reason="a sanitizer needs what the jail forbids")
def test_threads_come_and_go_in_the_jail(fleet):
    worker = start(fleet)
    completed(fleet, fleet.submit("image", save(draw(), "PNG"), ops="gray"))
    pid = executor(worker)
    assert len(threads(pid)) > 1
    eventually(lambda: len(threads(pid)) == 1, 40)  # libvips sends them home when there is nothing to do
    completed(fleet, fleet.submit("image", save(draw(), "PNG"), ops="rotate:45"))
    assert executor(worker) == pid and len(threads(pid)) > 1
    for task in threads(pid):
        with open(f"/proc/{pid}/task/{task}/status") as f:
            status = f.read()
        assert "Seccomp:\t2" in status and "NoNewPrivs:\t1" in status


def resident(worker):
    """kB of its executor."""
    with open(f"/proc/{executor(worker)}/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))


@pytest.mark.skipif(IS_SANITIZED, reason="sanitizers take memory of their own")
def test_many_images_need_no_more_memory_than_a_few(fleet):
    worker = start(fleet)

    def work(count):
        jobs = [fleet.submit("image", save(draw(300, 200, noise=i % 50 + 1), format), ops="rotate:10,scale:0.5,blur:1")
                for i in range(count) for format in ("JPEG", "PNG", "WEBP", "TIFF")]
        for job in jobs:
            completed(fleet, job)
        return resident(worker)

    first = work(5)
    assert work(25) - first < 4096
    assert first < 80 * 1024


@pytest.mark.skipif(IS_SANITIZED, reason="sanitizers take memory of their own")
def test_images_that_fail_leave_no_memory_taken(fleet):
    worker = start(fleet)
    files = {format: save(draw(300, 200, noise=20), format) for format in ("JPEG", "PNG", "TIFF")}

    def work(count):
        jobs = [fleet.submit("image", file[:len(file) // 2], ops=f"convert:{target}")
                for _ in range(count) for file in files.values() for target in ("jpeg", "png", "webp", "tiff")]
        for job in jobs:
            assert fleet.wait_end(job)["error"]["code"] == "bad-body"
        return resident(worker)

    first, pid = work(3), executor(worker)
    assert work(25) - first < 4096
    assert executor(worker) == pid


def test_a_crop_stands_in_a_url_as_it_is(fleet):
    start(fleet)
    answer = fleet.call("POST", "/jobs/image?ops=crop:10x20+3+4", data=save(draw(), "PNG"))
    job = answer.json()["id"]
    completed(fleet, job)
    assert loaded(fleet, job).size == (10, 20)


def test_other_kinds_do_not_load_what_images_need(servers, make_fleet):
    fleet = make_fleet(servers)
    worker = start(fleet)
    completed(fleet, fleet.submit("hash", b"x", iterations=1))
    for pid in worker.executors():
        with open(f"/proc/{pid}/maps") as f:
            assert "libvips" not in f.read()
    completed(fleet, fleet.submit("image", save(draw(), "JPEG"), ops="scale:0.5"))
    with open(f"/proc/{executor(worker)}/maps") as f:
        assert "libvips" in f.read()
