# SPDX-License-Identifier: Apache-2.0
"""The local fleet: RabbitMQ, Redis, the gateway and the workers of one machine.

    cli         what `./run up`, `down` and `demo` understand
    supervisor  keeps the programs of one fleet alive, and takes them down
    scaler      how many workers there should be
    servers     how a private RabbitMQ and Redis are started
    folder      the data folder: lock, ports and names that survive a restart
    process     one child process, from fork to the last signal
    demo        what a stranger sees first

Standard library only: it runs on a fresh Debian before any package is there.
"""
