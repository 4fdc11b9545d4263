"""A network on loopback that is slow or fails: a TCP relay with a delay, a shared rate, a count of
bytes, and faults at a byte of choice."""

from __future__ import annotations

import queue
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

PIECE = 1 << 16
WINDOW = 64
"""Pieces under way per connection: 4 MB, far above rate times delay."""


@dataclass
class Break:
    """What happens to a connection when `after` more bytes have come back over the link: it ends
    with FIN or, with `reset`, RST; before that it says nothing for `stall` seconds."""

    after: int
    reset: bool = False
    stall: float = 0.0


@dataclass
class Link:
    """A running relay: its port, what it lets through per second, what has come back, and what will
    break."""

    port: int
    bytes_per_second: float
    one_way: float
    received: int = 0
    breaks: list[Break] = field(default_factory=list)
    _free_at: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def piece(self) -> int:
        """Bytes at a time: a slow link brings a little often."""
        rate = self.bytes_per_second
        return min(PIECE, max(1024, int(rate / 50))) if rate else PIECE

    def due(self, size: int) -> float:
        """When a piece that comes back has crossed the link, whatever the connection."""
        with self._lock:
            self._free_at = max(self._free_at, time.monotonic())
            if self.bytes_per_second:
                self._free_at += size / self.bytes_per_second
            return self._free_at + self.one_way

    def fault(self, size: int) -> tuple[int, Break] | None:
        """The fault within the next `size` bytes, and how many of them still come."""
        with self._lock:
            if not self.breaks:
                return None
            self.breaks[0].after -= size
            if self.breaks[0].after >= 0:
                return None
            one = self.breaks.pop(0)
            return size + one.after, one


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
    try:
        far = socket.create_connection(("127.0.0.1", port))
    except OSError:
        near.close()
        return
    for one in (near, far):
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    threads = []
    for source, target, back in ((near, far, False), (far, near, True)):
        under_way: queue.Queue[tuple[float, bytes]] = queue.Queue(WINDOW)
        for work, end in ((_take, source), (_give, target)):
            arguments = (link, end, under_way, back)
            threads.append(threading.Thread(target=work, args=arguments, daemon=True))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    near.close()
    far.close()


def _take(
    link: Link, source: socket.socket, under_way: queue.Queue[tuple[float, bytes]], back: bool
) -> None:
    data = b"more"
    while data:
        try:
            data = source.recv(link.piece)
        except OSError:
            data = b""
        due = link.due(len(data)) if back else time.monotonic() + link.one_way
        under_way.put((due, data))


def _give(
    link: Link, target: socket.socket, under_way: queue.Queue[tuple[float, bytes]], back: bool
) -> None:
    open_still = True
    while True:
        due, data = under_way.get()
        time.sleep(max(0.0, due - time.monotonic()))
        if not data:
            break
        fault = link.fault(len(data)) if back and open_still else None
        try:
            if open_still:
                came = data[: fault[0]] if fault else data
                target.sendall(came)
                link.received += len(came) if back else 0
        except OSError:
            open_still = False
        if fault:
            open_still = False
            time.sleep(fault[1].stall)
            with suppress(OSError):
                if fault[1].reset:
                    target.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    target.shutdown(socket.SHUT_RD)
                    target.close()
                else:
                    target.shutdown(socket.SHUT_RDWR)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
