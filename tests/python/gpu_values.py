"""Checks with a library that is not ours that batches in the memory of a GPU hold the values that were sent.

    python gpu_values.py --probe          names the libraries that are here, best first
    python gpu_values.py LIBRARY          reads JSON lines from standard input and checks each

Each line describes one column in this process's own GPU memory through a CUDA IPC handle:
{"handle": base64, "offset": bytes from the start of the allocation, "rows": n, "first": value, "step": value}; the column is
float64, and value i must be first + step * i. Answers {"ok": true, "library": name, "sum": x} or {"error": text}.
"""

import base64
import json
import sys

LIBRARIES = ("cupy", "torch", "numba")


def probe():
    found = []
    for name in LIBRARIES:
        try:
            module = __import__(name)
            if name == "cupy":
                ready = module.cuda.runtime.getDeviceCount() > 0
            elif name == "torch":
                ready = module.cuda.is_available()
            else:
                from numba import cuda

                ready = cuda.is_available()
            if ready:
                found.append(name)
        except Exception as error:  # whatever is wrong with it, it cannot be used
            print(f"{name}: {type(error).__name__}: {error}", file=sys.stderr)
    return found


class Cupy:
    """Opens the handle by the runtime and computes with CuPy."""

    def __init__(self):
        import cupy

        self.cupy = cupy

    def check(self, handle, offset, rows, first, step):
        cupy = self.cupy
        base = cupy.cuda.runtime.ipcOpenMemHandle(handle)
        try:
            memory = cupy.cuda.UnownedMemory(base + offset, 8 * rows, None)
            values = cupy.ndarray((rows,), cupy.float64, cupy.cuda.MemoryPointer(memory, 0))
            expected = first + step * cupy.arange(rows, dtype=cupy.float64)
            wrong = int((values != expected).sum())
            total = float(values.sum())
        finally:
            cupy.cuda.runtime.ipcCloseMemHandle(base)
        return wrong, total


class Numba:
    """Opens the handle by Numba's driver interface and compares on the host."""

    def __init__(self):
        import numpy
        from numba import cuda

        self.numpy, self.cuda = numpy, cuda

    def check(self, handle, offset, rows, first, step):
        numpy, cuda = self.numpy, self.cuda
        opened = cuda.open_ipc_array(
            handle, shape=(offset // 8 + rows,), dtype=numpy.dtype("float64")
        )
        with opened as array:
            values = array[offset // 8 :].copy_to_host()
        expected = first + step * numpy.arange(rows, dtype=numpy.float64)
        return int((values != expected).sum()), float(values.sum())


class Torch:
    """Opens the handle by PyTorch's bundled runtime and wraps it as a tensor."""

    def __init__(self):
        import ctypes

        import torch

        torch.zeros(1, device="cuda")  # makes the primary context
        self.torch, self.ctypes = torch, ctypes
        self.driver = ctypes.CDLL("libcuda.so.1")

    def check(self, handle, offset, rows, first, step):
        torch, ctypes = self.torch, self.ctypes

        class Handle(ctypes.Structure):
            _fields_ = [("bytes", ctypes.c_char * 64)]

        opened = Handle()
        ctypes.memmove(ctypes.byref(opened), handle, 64)
        base = ctypes.c_uint64()
        result = self.driver.cuIpcOpenMemHandle_v2(ctypes.byref(base), opened, 1)
        if result != 0:
            raise RuntimeError(f"cuIpcOpenMemHandle: {result}")

        class Array:
            __cuda_array_interface__ = {
                "shape": (rows,),
                "typestr": "<f8",
                "data": (base.value + offset, True),
                "version": 3,
            }

        try:
            values = torch.as_tensor(Array(), device="cuda")
            expected = first + step * torch.arange(rows, dtype=torch.float64, device="cuda")
            wrong, total = int((values != expected).sum()), float(values.sum())
            torch.cuda.synchronize()
        finally:
            self.driver.cuIpcCloseMemHandle(base)
        return wrong, total


def main():
    if sys.argv[1:] == ["--probe"]:
        print(json.dumps(probe()))
        return
    name = sys.argv[1]
    checker = {"cupy": Cupy, "torch": Torch, "numba": Numba}[name]()
    for line in sys.stdin:
        try:
            task = json.loads(line)
            handle = base64.b64decode(task["handle"])
            wrong, total = checker.check(
                handle, task["offset"], task["rows"], task["first"], task["step"]
            )
            if wrong:
                answer = {"error": f"{wrong} of {task['rows']} values are wrong"}
            else:
                answer = {"ok": True, "library": name, "sum": total}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


main()
