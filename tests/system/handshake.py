"""A TCP client whose handshake is taken apart: what follows the SYN is sent when a test says so. Needs root (raw sockets).

    with Handshake(port) as client:
        client.begin()            # SYN out, SYN and ACK back: to the server the connection is half open
        ...
        client.finish(b"GET / ...")  # ACK out, with the first bytes
        client.received(patience)    # the first bytes of the answer
"""

import os
import select
import socket
import struct
import time

from server import free_port

FIN, SYN, RST, PSH, ACK = 0x01, 0x02, 0x04, 0x08, 0x10
SO_ATTACH_FILTER = 26
HERE, THERE = "127.0.0.2", "127.0.0.1"


class Handshake:
    def __init__(self, port):
        self.port, self.own = port, free_port()
        self.sequence, self.acknowledged = int.from_bytes(os.urandom(3), "big"), 0
        self.raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)
        self.raw.bind((HERE, 0))
        self.raw.connect((THERE, 0))
        # Somebody must own the port, or the kernel answers the server with a reset; the filter (drop all) keeps it silent.
        self.owner = socket.socket()
        self.owner.bind((HERE, self.own))
        code = struct.pack("HBBI", 0x06, 0, 0, 0)
        self.code = (code, struct.pack("HL", 1, _address_of(code)))
        self.owner.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, self.code[1])
        self.owner.listen()

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        self.raw.close()
        self.owner.close()

    def _send(self, flags, data=b""):
        def header(checksum):
            return struct.pack("!HHIIBBHHH", self.own, self.port, self.sequence, self.acknowledged, 5 << 4, flags, 65535, checksum, 0)
        pseudo = socket.inet_aton(HERE) + socket.inet_aton(THERE) + struct.pack("!BBH", 0, socket.IPPROTO_TCP, 20 + len(data))
        whole = pseudo + header(0) + data
        words = struct.unpack(f"!{(len(whole) + 1) // 2}H", whole + b"\0" * (len(whole) % 2))
        total = sum(words)
        while total >> 16:
            total = (total & 0xffff) + (total >> 16)
        self.raw.send(header(~total & 0xffff) + data)

    def _receive(self, wanted, patience):
        """The next segment to us with these flags: (flags, sequence, data), or None."""
        deadline = time.monotonic() + patience
        while select.select([self.raw], [], [], max(0, deadline - time.monotonic()))[0]:
            packet = self.raw.recv(65536)
            segment = packet[(packet[0] & 15) * 4:]
            source, target, sequence, _, offset, flags = struct.unpack("!HHIIBB", segment[:14])
            if (source, target) == (self.port, self.own) and wanted(flags, segment[(offset >> 4) * 4:]):
                return flags, sequence, segment[(offset >> 4) * 4:]
        return None

    def begin(self):
        self._send(SYN)
        _, sequence, _ = self._receive(lambda flags, data: flags & SYN and flags & ACK, 5)
        self.sequence += 1
        self.acknowledged = (sequence + 1) & 0xffffffff

    def finish(self, data):
        self._send(PSH | ACK, data)

    def received(self, patience=5):
        """The first bytes of the answer; None: a reset, or nothing."""
        segment = self._receive(lambda flags, data: data or flags & RST, patience)
        return segment[2] if segment is not None and not segment[0] & RST else None


def _address_of(data):
    """Where the bytes lie; they live as long as the caller keeps them."""
    import ctypes  # pylint: disable=import-outside-toplevel
    return ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value
