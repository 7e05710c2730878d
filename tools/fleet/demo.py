# SPDX-License-Identifier: Apache-2.0
"""What a stranger sees first: a fleet of its own, jobs of two kinds and of two sizes, checked results, and a folder of
pictures turned into another one, by the fleet's own means and by somebody's script.

The fleet is started as a user would start it, by `up`, on a temporary folder
and a free port, and asked over HTTP alone. Every result is checked against
Python's own arithmetic; only then is the exit status 0.
"""

import hashlib
import http.client
import json
import operator
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time

from fleet.process import die_with
from fleet.supervisor import REPOSITORY

A = [[1, 2, 3], [4, 5, 6]]
B = [[0.5, -1], [2, 0.25], [-3, 7]]
ITERATIONS = 100000
LARGE = 600, 400, 500  # rows of A, columns of A and rows of B, columns of B
TILE = 200, 250
WINDOW = (198, 202), (248, 252)  # rows and columns of C where four tiles meet
BOUNDARY = "millrace-demo-boundary"
DEADLINE_SECONDS = 30
PICTURES = os.path.join(REPOSITORY, "build", "demo")  # stays, for a look at the report
BROKEN = {"turned": 3, "processed": 1}  # of the pictures that tools/make_dataset.py makes, and of its herbs


def run():
    parent = os.getpid()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    data = tempfile.mkdtemp(prefix="millrace-demo-")
    fleet = None
    try:
        print("Starting a private RabbitMQ, Redis, a gateway and two workers ...", flush=True)
        fleet = subprocess.Popen([sys.executable, os.path.dirname(__file__), "up", "--port", "0", "--data", data,
                                  "--workers", "2"], stdout=subprocess.PIPE, text=True, start_new_session=True,
                                 preexec_fn=lambda: die_with(parent, signal.SIGTERM),
                                 env={**os.environ, "MILLRACE_COMMANDS_FILE": _list_commands()})
        url = _ready_url(fleet)
        if url is None:
            return 1
        return _show(Client(url), url)
    finally:
        if fleet:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, lambda *_: fleet.send_signal(signal.SIGTERM))  # again: at once
            fleet.send_signal(signal.SIGTERM)
            fleet.communicate()
        shutil.rmtree(data, ignore_errors=True)


def _leave(number, _frame):
    raise SystemExit(128 + number)  # by way of the finally above


def _list_commands():
    """The example's list, with the script where it lies here."""
    example = os.path.join(REPOSITORY, "examples", "process")
    path = os.path.join(PICTURES, "commands.json")
    shutil.rmtree(PICTURES, ignore_errors=True)
    os.makedirs(PICTURES)
    with open(os.path.join(example, "commands.json"), encoding="utf-8") as listed, open(path, "w", encoding="utf-8") as file:
        file.write(listed.read().replace("/opt/process/", example + "/"))
    return path


def _ready_url(fleet):
    for line in fleet.stdout:
        if line.startswith("ready: "):
            return line.split()[1]
        print(line, end="")
    return None


def _show(client, url):
    right = _multiply(client) & _multiply_in_tiles(client) & _hash(client, os.path.join(REPOSITORY, "run"))
    right &= _map(url)
    jobs = client.call("GET", "/stats")["jobs"]
    print("\nGET /stats     " + ", ".join(f"{count} {name}" for name, count in jobs.items() if count))
    if not right:
        print("\nA result is wrong.")
        return 1
    print("\nAll results are right. Next:\n"
          "  ./run up                  a fleet that stays, on http://127.0.0.1:8080\n"
          "  curl -d '{\"A\":[[1,2]],\"B\":[[3],[4]]}' http://127.0.0.1:8080/matrix_multiplication\n"
          "  curl -F A=@A.npy -F B=@B.npy http://127.0.0.1:8080/matrix_multiplication\n"
          "  curl 'http://127.0.0.1:8080/jobs/ID?wait=10'   then .../jobs/ID/result\n"
          "  build/release/millrace map --ops fit:800 YOUR-PICTURES/ OUTPUT/")
    return 0


def _multiply(client):
    job = client.call("POST", "/matrix_multiplication", json.dumps({"A": A, "B": B}))
    print(f"\nPOST /matrix_multiplication     202, job {job['id']}")
    record = client.wait(job["id"])
    product = client.call("GET", f"/jobs/{job['id']}/result")["C"]
    _print_side_by_side(A, B, product)
    print(f"  {record['state']} by {record['worker']}, attempt {record['attempt']}, {_times(record)}")
    return product == [[sum(x * y for x, y in zip(row, column)) for column in zip(*B)] for row in A]


def _multiply_in_tiles(client):
    """Two NumPy files as a form; the product is cut, and looked at through a window."""
    m, k, n = LARGE
    a = [[(3 * i + 5 * j) % 17 - 8 for j in range(k)] for i in range(m)]
    b = [[(7 * i + 2 * j) % 13 - 6 for j in range(n)] for i in range(k)]
    path = "/matrix_multiplication?tile_m={}&tile_n={}".format(*TILE)
    job = client.call("POST", path, _form({"A": _npy(a), "B": _npy(b)}),
                      f"multipart/form-data; boundary={BOUNDARY}")
    print(f"\nPOST {path}\n  202, job {job['id']}   (A.npy {m} x {k}, B.npy {k} x {n})")
    record = client.wait(job["id"])
    tiles, verified = record.get("tiles", {}), record.get("verified", {})
    print(f"  {record['state']} in {tiles.get('total')} tiles, {_times(record)}\n"
          f"  verified by {verified.get('method')}, {verified.get('probes')} probes, bound {verified.get('bound', 0):.1e}")
    (top, bottom), (left, right) = WINDOW
    path = f"/jobs/{job['id']}/result?rows={top}:{bottom}&cols={left}:{right}"
    window = client.call("GET", path)["C"]
    print(f"GET {path}")
    for line in _lines(window):
        print("  " + line)
    columns = list(zip(*b))[left:right]
    return (tiles.get("total", 0) > 1 and bool(verified) and
            window == [[sum(map(operator.mul, row, column)) for column in columns] for row in a[top:bottom]])


def _npy(matrix):
    """A NumPy file, version 1.0, as numpy.save writes it."""
    head = f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({len(matrix)}, {len(matrix[0])}), }}"
    head = head.ljust(117) + "\n"
    return (b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode() +
            b"".join(struct.pack(f"<{len(row)}d", *row) for row in matrix))


def _form(parts):
    body = b"".join(f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"; filename="{name}.npy"\r\n'
                    f"Content-Type: application/octet-stream\r\n\r\n".encode() + content + b"\r\n"
                    for name, content in parts.items())
    return body + f"--{BOUNDARY}--\r\n".encode()


def _hash(client, path):
    with open(path, "rb") as file:
        content = file.read()
    job = client.call("PUT", f"/enqueue?iterations={ITERATIONS}", content)
    print(f"\nPUT /enqueue?iterations={ITERATIONS}    202, job {job['id']}   ({os.path.basename(path)}, "
          f"{len(content)} bytes)")
    record = client.wait(job["id"])
    pulled = client.call("POST", "/pullCompleted?top=1")
    print(f"POST /pullCompleted?top=1\n  {pulled[0]['value'][:64]}...\n"
          f"  {record['state']} by {record['worker']}, {_times(record)}")
    expected = content
    for _ in range(ITERATIONS):
        expected = hashlib.sha512(expected).digest()
    return pulled == [{"id": job["id"], "value": expected.hex()}]


def _map(url):
    """A folder through the fleet by the command line; what is broken in it fails by name, the rest does not."""
    dataset = os.path.join(PICTURES, "plants")
    subprocess.run([sys.executable, os.path.join(REPOSITORY, "tools", "make_dataset.py"), dataset], check=True)
    return (_map_by(url, dataset, "turned", "--ops", "rotate:30,scale:0.5") &
            _map_by(url, os.path.join(dataset, "herbs"), "processed", "--command", "process"))


def _map_by(url, dataset, output, *options):
    command = [os.path.join(REPOSITORY, "build", "release", "millrace"), "map", *options, dataset,
               os.path.join(PICTURES, output)]
    print("\n$ " + " ".join(os.path.relpath(word) if os.path.isabs(word) else word for word in command))
    done = subprocess.run([*command, "--url", url], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                          timeout=4 * DEADLINE_SECONDS)
    for line in done.stdout.splitlines():
        print("  " + line)
    return done.returncode == 1 and f", {BROKEN[output]} failed" in done.stdout


def _times(record):
    return f"waited {record['wait_seconds'] * 1000:.1f} ms, ran {record['run_seconds'] * 1000:.1f} ms"


def _print_side_by_side(left, right, product):
    """A x B = C, centred around the tallest."""
    blocks = [_lines(left), ["x"], _lines(right), ["="], _lines(product)]
    height = max(map(len, blocks))
    for index, block in enumerate(blocks):
        above = (height - len(block)) // 2
        empty = " " * len(block[0])
        blocks[index] = [empty] * above + block + [empty] * (height - len(block) - above)
    for parts in zip(*blocks):
        print("  " + " ".join(parts).rstrip())


def _lines(matrix):
    texts = [[f"{value:g}" for value in row] for row in matrix]
    width = max(len(text) for row in texts for text in row)
    return ["[ " + " ".join(text.rjust(width) for text in row) + " ]" for row in texts]


class Client:
    def __init__(self, url):
        self._address = url.removeprefix("http://")

    def call(self, method, path, body=None, content_type=None):
        connection = http.client.HTTPConnection(self._address, timeout=70)
        try:
            connection.request(method, path, body, {"Content-Type": content_type} if content_type else {})
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        if answer.status >= 300:
            raise SystemExit(f"{method} {path}: {answer.status} {text}")
        return json.loads(text)

    def wait(self, job):
        deadline = time.monotonic() + DEADLINE_SECONDS
        while time.monotonic() < deadline:
            record = self.call("GET", f"/jobs/{job}?wait=10")
            if record["state"] in ("completed", "failed", "cancelled"):
                return record
        raise SystemExit(f"job {job} did not end within {DEADLINE_SECONDS} s")
