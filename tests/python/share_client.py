"""A client of shared memory, written from docs/wire.md alone: gets the memory of a dataset, and says what it is.

    share_client.py SOCKET TICKET

Prints one JSON object: the facts of the answer and of the descriptor, or the server's error.
"""

import array
import fcntl
import json
import mmap
import os
import socket
import struct
import sys

name, ticket = sys.argv[1], sys.argv[2].encode()
connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
connection.connect(name if name.startswith("/") else "\0" + name)
connection.send(b"DIPS\x01\0\0\0" + os.urandom(16) + struct.pack("<I", len(ticket)) + ticket)
message, ancillary, _, _ = connection.recvmsg(8192, socket.CMSG_SPACE(4))
if message[:5] != b"DIPS\x01":
    sys.exit(f"not an answer: {message!r}")
if message[5] == 1:
    print(message[8:].decode())
    sys.exit()
generation, base, size = struct.unpack("<QQQ", message[8:])
(level, kind, data), = ancillary
assert (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS)
descriptor, = array.array("i", data)
refused = []
for what, attempt in {
    "shrink": lambda: os.ftruncate(descriptor, 0),
    "write": lambda: os.write(descriptor, b"x"),
    "map to write": lambda: mmap.mmap(descriptor, size, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE),
    "open to write": lambda: mmap.mmap(os.open(f"/proc/self/fd/{descriptor}", os.O_RDWR), size, mmap.MAP_SHARED,
                                       mmap.PROT_READ | mmap.PROT_WRITE),
}.items():
    try:
        attempt()
    except OSError:
        refused.append(what)
memory = mmap.mmap(descriptor, size, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE)
print(json.dumps({
    "seals": fcntl.fcntl(descriptor, 1034), "size": os.fstat(descriptor).st_size, "said": size, "base": base % 4096,
    "refused": refused, "first": struct.unpack("<q", memory[:8])[0],
}))
