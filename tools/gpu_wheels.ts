/**
 * The builds of UCX that the GPU kit takes: what is on PyPI, by its checksum.
 *
 * @module
 */

/** Version and SHA-256 of the wheel for Linux on x86-64, by package. */
export const UCX_WHEELS = {
  "libucx-cu12": {
    version: "1.22.0",
    sha256: "5cbbef0c140a0a158ae3486089af659b38822b2234cd3dc90ba40a5e6553402a",
  },
  "libucx-cu13": {
    version: "1.22.0",
    sha256: "c6e0aaa82dc6e49dc3ddaac465b530e014f48b6c1c6b5ae74fbdd199d824351b",
  },
} as const;
