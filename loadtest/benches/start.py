# SPDX-License-Identifier: Apache-2.0
"""How fast a program is of use, with the servers up.

gateway  from just before its fork to the first 200 of /readyz
worker   from just before its fork to the result of a job that was waiting, by long poll
"""

import json
import socket
import subprocess
import time

from rig import QUEUE_TYPES, Failed, Rig, free_port, is_ready, tail, wait_for

GATEWAY_MS, WORKER_MS = 50, 100
MATRICES = json.dumps({"A": [[1, 2], [3, 4]], "B": [[5, 6], [7, 8]]})
RESULT = b'{"C":[[19,22],[43,50]]}'


class Started:
    """A program timed from its fork. The fleet's own way of starting forks this interpreter, which takes longer
    than some of what is measured; here vfork and exec follow each other."""

    def __init__(self, program):
        self._log = program.log
        with open(program.log, "ab") as log:
            self.at = time.monotonic()
            self._popen = subprocess.Popen(program.argv, env=program.env, stdin=subprocess.DEVNULL, stdout=log,
                                           stderr=log)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._popen.terminate()
        try:
            self._popen.wait(20)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()

    def is_alive(self):
        if self._popen.poll() is not None:
            raise Failed(f"the program ended: {tail(self._log)}")
        return True


def run(report, options):
    for queue_type in options.queue_types(QUEUE_TYPES):
        with Rig(queue_type) as rig:
            rig.start_gateway()  # declares the queues and warms the page cache
            for _ in range(options.repeats):
                report.measured(f"gateway_{queue_type}", ms=_gateway_ms(rig))
                report.measured(f"worker_{queue_type}", ms=_worker_ms(rig))
        report.bounded(f"gateway_ready_ms_{queue_type}", report.median(f"gateway_{queue_type}", "ms"),
                       at_most=GATEWAY_MS)
        report.bounded(f"worker_first_result_ms_{queue_type}", report.median(f"worker_{queue_type}", "ms"),
                       at_most=WORKER_MS)


def _gateway_ms(rig):
    port = free_port()
    program = rig.daemon("millrace-api", port=port)
    with Started(program) as gateway:
        wait_for(lambda: is_ready(port) or not gateway.is_alive(), 10, "/readyz")
        return (time.monotonic() - gateway.at) * 1000


def _worker_ms(rig):
    job = rig.submit("POST", "/matrix_multiplication", MATRICES, {"Content-Type": "application/json"})
    with socket.create_connection(("127.0.0.1", rig.port), timeout=20) as waiting:
        waiting.sendall(f"GET /jobs/{job}/result?wait=20 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        with Started(rig.daemon("millrace-worker", slots=1)) as worker:
            answer = b""
            while RESULT not in answer:
                piece = waiting.recv(4096)
                if not piece or b" 4" in answer[:12]:
                    raise Failed(f"no result: {answer.decode(errors='replace')}")
                answer += piece
            return (time.monotonic() - worker.at) * 1000
