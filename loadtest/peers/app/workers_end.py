# SPDX-License-Identifier: Apache-2.0
"""Settings of Gunicorn: its workers die with it, even by kill -9; Uvicorn's sort would go on for ever."""

import ctypes
import os
import signal

PR_SET_PDEATHSIG = 1


def post_fork(server, worker):
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != server.pid:  # it died before the call above
        os._exit(1)
