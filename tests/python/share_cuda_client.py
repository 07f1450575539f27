"""A client of memory on a GPU, written from docs/wire.md and cuda.h alone: gets the memory of a dataset, and reads its start.

    share_cuda_client.py LIBCUDA SOCKET TICKET

Prints one JSON object: the facts of the answer and the first values of int64, or the server's error.
"""

import ctypes
import json
import os
import socket
import struct
import sys
import time

libcuda, name, ticket = sys.argv[1], sys.argv[2], sys.argv[3].encode()


class Handle(ctypes.Structure):
    _fields_ = [("reserved", ctypes.c_ubyte * 64)]


cuda = ctypes.CDLL(libcuda)
cuda.cuIpcOpenMemHandle_v2.argtypes = [ctypes.POINTER(ctypes.c_uint64), Handle, ctypes.c_uint]
cuda.cuIpcOpenEventHandle.argtypes = [ctypes.POINTER(ctypes.c_void_p), Handle]
cuda.cuMemcpyDtoH_v2.argtypes = [ctypes.c_void_p, ctypes.c_uint64, ctypes.c_size_t]
for function in (cuda.cuEventQuery, cuda.cuEventDestroy_v2, cuda.cuCtxPushCurrent_v2):
    function.argtypes = [ctypes.c_void_p]
cuda.cuIpcCloseMemHandle.argtypes = [ctypes.c_uint64]


def check(result):
    assert result == 0, result


connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
connection.connect(name if name.startswith("/") else "\0" + name)
connection.send(b"DIPS\x01\0\x01\0" + os.urandom(16) + struct.pack("<I", len(ticket)) + ticket)
message, ancillary, _, _ = connection.recvmsg(8192, socket.CMSG_SPACE(4))
if message[:5] != b"DIPS\x01":
    sys.exit(f"not an answer: {message!r}")
if message[5] == 1:
    print(message[8:].decode())
    sys.exit()
generation, base, size = struct.unpack("<QQQ", message[8:32])
memory, event, gpu = message[32:96], message[96:160], message[160:]
context, address = ctypes.c_void_p(), ctypes.c_uint64()
check(cuda.cuInit(0))
check(cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0))
check(cuda.cuCtxPushCurrent_v2(context))
uuid = (ctypes.c_ubyte * 16)()
check(cuda.cuDeviceGetUuid_v2(uuid, 0))
check(cuda.cuIpcOpenMemHandle_v2(ctypes.byref(address), Handle.from_buffer_copy(memory), 1))
if any(event):
    filled = ctypes.c_void_p()
    check(cuda.cuIpcOpenEventHandle(ctypes.byref(filled), Handle.from_buffer_copy(event)))
    while (result := cuda.cuEventQuery(filled)) == 600:
        time.sleep(0.001)
    check(result)
    check(cuda.cuEventDestroy_v2(filled))
start = (ctypes.c_int64 * 3)()
check(cuda.cuMemcpyDtoH_v2(start, address, 24))
check(cuda.cuIpcCloseMemHandle(address))
check(cuda.cuCtxPopCurrent_v2(ctypes.byref(context)))
check(cuda.cuDevicePrimaryCtxRelease_v2(0))
print(json.dumps({
    "kind": message[6], "descriptors": len(ancillary), "base": base, "size": size, "same_gpu": bytes(uuid) == gpu,
    "event": any(event), "start": list(start),
}))
