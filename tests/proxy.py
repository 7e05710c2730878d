# SPDX-License-Identifier: Apache-2.0
"""A TCP proxy that a test can make forget, freeze or cut what passes through it.

It stands between one program and one server, on loopback. `black_hole` swallows
what the client sends from now on, `freeze` lets nothing pass either way, `lag_s`
holds up each piece for so long, `cut` resets every connection.
"""
import selectors
import socket
import threading

from harness import free_port


class Proxy:
    def __init__(self, port):
        self.target = port
        self.port = free_port()
        self.black_hole = False
        self.frozen = False
        self.lag_s = 0
        self.refusing = False
        self._pairs = {}
        self._stopping = False
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def url(self, url):
        """The server's URL, led through this proxy."""
        return url.replace(f":{self.target}", f":{self.port}")

    def cut(self):
        """Resets every connection."""
        for one in list(self._pairs):
            try:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        self._stopping = True
        self._thread.join(5)
        for one in [self._listener, *self._pairs]:
            one.close()

    def _run(self):
        while not self._stopping:
            if self.frozen:
                threading.Event().wait(0.02)
                continue
            for key, _ in self._selector.select(0.02):
                if key.fileobj is self._listener:
                    self._accept()
                elif key.fileobj in self._pairs:
                    self._move(key.fileobj)

    def _accept(self):
        client, _ = self._listener.accept()
        if self.refusing:
            client.close()
            return
        try:
            server = socket.create_connection(("127.0.0.1", self.target))
        except OSError:
            client.close()
            return
        for one, other, is_client in ((client, server, True), (server, client, False)):
            self._pairs[one] = (other, is_client)
            self._selector.register(one, selectors.EVENT_READ)

    def _move(self, one):
        other, is_client = self._pairs[one]
        try:
            data = one.recv(65536)
            if data and self.lag_s:
                threading.Event().wait(self.lag_s)
            if data and not (is_client and self.black_hole):
                other.sendall(data)
        except OSError:
            data = b""
        if not data:
            for end in (one, other):
                if self._pairs.pop(end, None):
                    self._selector.unregister(end)
                    end.close()
