"""A slow network on loopback: a TCP relay with a delay and a shared rate, and a count of bytes."""

from __future__ import annotations

import queue
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

PIECE = 1 << 16
WINDOW = 64
"""Pieces under way per connection: 4 MB, far above rate times delay."""


@dataclass
class Link:
    """A running relay: its port, what it lets through per second, and what came back so far."""

    port: int
    bytes_per_second: float
    one_way: float
    received: int = 0
    _free_at: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def due(self, size: int) -> float:
        """When a piece that comes back has crossed the link, whatever the connection."""
        with self._lock:
            self.received += size
            self._free_at = max(self._free_at, time.monotonic())
            if self.bytes_per_second:
                self._free_at += size / self.bytes_per_second
            return self._free_at + self.one_way


@contextmanager
def linked(
    port: int, *, megabytes_per_second: float = 0, milliseconds: float = 0
) -> Iterator[Link]:
    """Relay connections to a port of this machine; no rate is as fast as the relay can.

    The delay is of the round trip; a connection's first round trip is its handshake.
    """
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    link = Link(listener.getsockname()[1], megabytes_per_second * 1e6, milliseconds / 2000)

    def accept() -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=_relay, args=(link, near, port), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield link
    finally:
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def _relay(link: Link, near: socket.socket, port: int) -> None:
    time.sleep(2 * link.one_way)
    far = socket.create_connection(("127.0.0.1", port))
    for one in (near, far):
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for source, target, limited in ((near, far, False), (far, near, True)):
        under_way: queue.Queue[tuple[float, bytes]] = queue.Queue(WINDOW)
        threading.Thread(target=_take, args=(link, source, under_way, limited), daemon=True).start()
        threading.Thread(target=_give, args=(target, under_way), daemon=True).start()


def _take(
    link: Link, source: socket.socket, under_way: queue.Queue[tuple[float, bytes]], limited: bool
) -> None:
    data = b"more"
    while data:
        try:
            data = source.recv(PIECE)
        except OSError:
            data = b""
        due = link.due(len(data)) if limited else time.monotonic() + link.one_way
        under_way.put((due, data))


def _give(target: socket.socket, under_way: queue.Queue[tuple[float, bytes]]) -> None:
    broken = False
    while True:
        due, data = under_way.get()
        time.sleep(max(0.0, due - time.monotonic()))
        if not data:
            break
        try:
            if not broken:
                target.sendall(data)
        except OSError:
            broken = True
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
