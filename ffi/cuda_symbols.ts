/**
 * The functions of the CUDA driver API that dipc uses, as C declares them (`cuda.h`), under the names that the library
 * exports: `cuMemAlloc` of the header is `cuMemAlloc_v2` there.
 *
 * Handles, sizes and addresses are `usize`/`u64` and passed as bigints. `CUresult` has no negative values and fits `i32`.
 * The comment after each parameter is its C declaration: a test compiles these declarations, and the widths before them,
 * against NVIDIA's `cuda.h`. Functions that older drivers lack are optional. No policy here.
 *
 * @module
 */

/** Symbol table of libcuda. Valid for CUDA 11.0 and later. */
export const CUDA_SYMBOLS = {
  cuInit: { parameters: ["u32" /* unsigned int Flags */], result: "i32" },
  cuDriverGetVersion: { parameters: ["buffer" /* int *driverVersion */], result: "i32" },
  cuGetErrorName: {
    parameters: [
      "i32", // CUresult error
      "buffer", // const char **pStr
    ],
    result: "i32",
  },
  cuGetErrorString: {
    parameters: [
      "i32", // CUresult error
      "buffer", // const char **pStr
    ],
    result: "i32",
  },

  cuDeviceGetCount: { parameters: ["buffer" /* int *count */], result: "i32" },
  cuDeviceGet: {
    parameters: [
      "buffer", // CUdevice *device
      "i32", // int ordinal
    ],
    result: "i32",
  },
  cuDeviceGetName: {
    parameters: [
      "buffer", // char *name
      "i32", // int len
      "i32", // CUdevice dev
    ],
    result: "i32",
  },
  cuDeviceGetUuid: {
    parameters: [
      "buffer", // CUuuid *uuid
      "i32", // CUdevice dev
    ],
    result: "i32",
  },
  // Since CUDA 11.4; distinguishes the instances of a partitioned GPU (MIG).
  cuDeviceGetUuid_v2: {
    parameters: [
      "buffer", // CUuuid *uuid
      "i32", // CUdevice dev
    ],
    result: "i32",
    optional: true,
  },
  cuDeviceTotalMem_v2: {
    parameters: [
      "buffer", // size_t *bytes
      "i32", // CUdevice dev
    ],
    result: "i32",
  },
  cuDeviceGetPCIBusId: {
    parameters: [
      "buffer", // char *pciBusId
      "i32", // int len
      "i32", // CUdevice dev
    ],
    result: "i32",
  },
  cuDeviceGetAttribute: {
    parameters: [
      "buffer", // int *pi
      "i32", // CUdevice_attribute attrib
      "i32", // CUdevice dev
    ],
    result: "i32",
  },

  cuDevicePrimaryCtxRetain: {
    parameters: [
      "buffer", // CUcontext *pctx
      "i32", // CUdevice dev
    ],
    result: "i32",
  },
  cuDevicePrimaryCtxRelease_v2: { parameters: ["i32" /* CUdevice dev */], result: "i32" },
  cuCtxSetCurrent: { parameters: ["usize" /* CUcontext ctx */], result: "i32" },
  cuCtxGetCurrent: { parameters: ["buffer" /* CUcontext *pctx */], result: "i32" },
  cuCtxPushCurrent_v2: { parameters: ["usize" /* CUcontext ctx */], result: "i32" },
  cuCtxPopCurrent_v2: { parameters: ["buffer" /* CUcontext *pctx */], result: "i32" },
  cuCtxSynchronize: { parameters: [], result: "i32" },

  cuMemGetInfo_v2: {
    parameters: [
      "buffer", // size_t *free
      "buffer", // size_t *total
    ],
    result: "i32",
  },
  cuMemAlloc_v2: {
    parameters: [
      "buffer", // CUdeviceptr *dptr
      "usize", // size_t bytesize
    ],
    result: "i32",
  },
  cuMemFree_v2: { parameters: ["u64" /* CUdeviceptr dptr */], result: "i32" },
  // Since CUDA 11.2.
  cuMemAllocAsync: {
    parameters: [
      "buffer", // CUdeviceptr *dptr
      "usize", // size_t bytesize
      "usize", // CUstream hStream
    ],
    result: "i32",
    optional: true,
  },
  cuMemFreeAsync: {
    parameters: [
      "u64", // CUdeviceptr dptr
      "usize", // CUstream hStream
    ],
    result: "i32",
    optional: true,
  },
  cuMemGetAddressRange_v2: {
    parameters: [
      "buffer", // CUdeviceptr *pbase
      "buffer", // size_t *psize
      "u64", // CUdeviceptr dptr
    ],
    result: "i32",
  },

  cuMemHostAlloc: {
    parameters: [
      "buffer", // void **pp
      "usize", // size_t bytesize
      "u32", // unsigned int Flags
    ],
    result: "i32",
  },
  cuMemFreeHost: { parameters: ["usize" /* void *p */], result: "i32" },
  cuMemHostRegister_v2: {
    parameters: [
      "usize", // void *p
      "usize", // size_t bytesize
      "u32", // unsigned int Flags
    ],
    result: "i32",
  },
  cuMemHostUnregister: { parameters: ["usize" /* void *p */], result: "i32" },

  cuMemcpyHtoD_v2: {
    parameters: [
      "u64", // CUdeviceptr dstDevice
      "usize", // const void *srcHost
      "usize", // size_t ByteCount
    ],
    result: "i32",
  },
  cuMemcpyDtoH_v2: {
    parameters: [
      "usize", // void *dstHost
      "u64", // CUdeviceptr srcDevice
      "usize", // size_t ByteCount
    ],
    result: "i32",
  },
  cuMemcpyDtoD_v2: {
    parameters: [
      "u64", // CUdeviceptr dstDevice
      "u64", // CUdeviceptr srcDevice
      "usize", // size_t ByteCount
    ],
    result: "i32",
  },
  cuMemcpyHtoDAsync_v2: {
    parameters: [
      "u64", // CUdeviceptr dstDevice
      "usize", // const void *srcHost
      "usize", // size_t ByteCount
      "usize", // CUstream hStream
    ],
    result: "i32",
  },
  cuMemcpyDtoHAsync_v2: {
    parameters: [
      "usize", // void *dstHost
      "u64", // CUdeviceptr srcDevice
      "usize", // size_t ByteCount
      "usize", // CUstream hStream
    ],
    result: "i32",
  },
  cuMemcpyDtoDAsync_v2: {
    parameters: [
      "u64", // CUdeviceptr dstDevice
      "u64", // CUdeviceptr srcDevice
      "usize", // size_t ByteCount
      "usize", // CUstream hStream
    ],
    result: "i32",
  },
  cuMemcpyPeerAsync: {
    parameters: [
      "u64", // CUdeviceptr dstDevice
      "usize", // CUcontext dstContext
      "u64", // CUdeviceptr srcDevice
      "usize", // CUcontext srcContext
      "usize", // size_t ByteCount
      "usize", // CUstream hStream
    ],
    result: "i32",
  },
  cuMemsetD8_v2: {
    parameters: [
      "u64", // CUdeviceptr dstDevice
      "u8", // unsigned char uc
      "usize", // size_t N
    ],
    result: "i32",
  },
  cuMemsetD8Async: {
    parameters: [
      "u64", // CUdeviceptr dstDevice
      "u8", // unsigned char uc
      "usize", // size_t N
      "usize", // CUstream hStream
    ],
    result: "i32",
  },

  cuStreamCreate: {
    parameters: [
      "buffer", // CUstream *phStream
      "u32", // unsigned int Flags
    ],
    result: "i32",
  },
  cuStreamDestroy_v2: { parameters: ["usize" /* CUstream hStream */], result: "i32" },
  cuStreamSynchronize: { parameters: ["usize" /* CUstream hStream */], result: "i32" },
  cuStreamQuery: { parameters: ["usize" /* CUstream hStream */], result: "i32" },
  cuStreamWaitEvent: {
    parameters: [
      "usize", // CUstream hStream
      "usize", // CUevent hEvent
      "u32", // unsigned int Flags
    ],
    result: "i32",
  },
  cuEventCreate: {
    parameters: [
      "buffer", // CUevent *phEvent
      "u32", // unsigned int Flags
    ],
    result: "i32",
  },
  cuEventDestroy_v2: { parameters: ["usize" /* CUevent hEvent */], result: "i32" },
  cuEventRecord: {
    parameters: [
      "usize", // CUevent hEvent
      "usize", // CUstream hStream
    ],
    result: "i32",
  },
  cuEventQuery: { parameters: ["usize" /* CUevent hEvent */], result: "i32" },
  cuEventSynchronize: { parameters: ["usize" /* CUevent hEvent */], result: "i32" },
  cuEventElapsedTime: {
    parameters: [
      "buffer", // float *pMilliseconds
      "usize", // CUevent hStart
      "usize", // CUevent hEnd
    ],
    result: "i32",
  },

  cuPointerGetAttribute: {
    parameters: [
      "buffer", // void *data
      "i32", // CUpointer_attribute attribute
      "u64", // CUdeviceptr ptr
    ],
    result: "i32",
  },
  cuPointerGetAttributes: {
    parameters: [
      "u32", // unsigned int numAttributes
      "buffer", // CUpointer_attribute *attributes
      "buffer", // void **data
      "u64", // CUdeviceptr ptr
    ],
    result: "i32",
  },

  cuIpcGetMemHandle: {
    parameters: [
      "buffer", // CUipcMemHandle *pHandle
      "u64", // CUdeviceptr dptr
    ],
    result: "i32",
  },
  cuIpcOpenMemHandle_v2: {
    parameters: [
      "buffer", // CUdeviceptr *pdptr
      { struct: ["u64", "u64", "u64", "u64", "u64", "u64", "u64", "u64"] }, // CUipcMemHandle handle
      "u32", // unsigned int Flags
    ],
    result: "i32",
  },
  cuIpcCloseMemHandle: { parameters: ["u64" /* CUdeviceptr dptr */], result: "i32" },
  cuIpcGetEventHandle: {
    parameters: [
      "buffer", // CUipcEventHandle *pHandle
      "usize", // CUevent event
    ],
    result: "i32",
  },
  cuIpcOpenEventHandle: {
    parameters: [
      "buffer", // CUevent *phEvent
      { struct: ["u64", "u64", "u64", "u64", "u64", "u64", "u64", "u64"] }, // CUipcEventHandle handle
    ],
    result: "i32",
  },
} as const satisfies Deno.ForeignLibraryInterface;

/** The functions of an opened libcuda. */
export type CudaSymbols = Deno.DynamicLibrary<typeof CUDA_SYMBOLS>["symbols"];
