#!/usr/bin/env bash
# nanoarrow's ArrowArrayView does not know how long the sizes of a list view are: for a valid array of type +vl or +vL the third
# buffer view, with the sizes, has a size of -1 bytes, also after ArrowArrayViewSetArray and ArrowArrayViewValidate at level FULL,
# which both succeed. All other buffers of a view have their sizes then, as its documentation says.
#
# Bites: whoever copies or writes an array by the sizes of its view, for example to a file or to another device: malloc(-1 rounded
# up) gives nothing, and memcpy of -1 bytes ends the process. List views are what DuckDB and Velox exchange.
#
# Seen: 2026-11-29, nanoarrow 0.8.0 (as bundled in arx-nanoarrow-sources 0.8.0.post1), GCC 12, Linux x86-64.
#
# Expected: the sizes have as many bytes as the offsets.
# Seen:
#   offsets: 12 bytes, sizes: -1 bytes
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv environment
environment/bin/pip install --quiet --disable-pip-version-check --no-deps arx-nanoarrow-sources==0.8.0.post1
vendor=$(echo environment/lib/python3*/site-packages/arx_nanoarrow_sources/vendor)

cat > sizes.c <<'C'
#include <inttypes.h>
#include <stdio.h>
#include "nanoarrow/nanoarrow.h"

#define CHECK(call) if ((call) != NANOARROW_OK) { fprintf(stderr, "%s failed\n", #call); return 1; }

int main(void) {
    struct ArrowSchema schema;
    CHECK(ArrowSchemaInitFromType(&schema, NANOARROW_TYPE_LIST_VIEW));
    CHECK(ArrowSchemaSetType(schema.children[0], NANOARROW_TYPE_INT32));
    /* The lists [7, 8], [] and [9]. */
    const int32_t offsets[] = {0, 2, 2}, sizes[] = {2, 0, 1}, items[] = {7, 8, 9};
    const void *item_buffers[] = {NULL, items}, *list_buffers[] = {NULL, offsets, sizes};
    struct ArrowArray child = {.length = 3, .n_buffers = 2, .buffers = item_buffers};
    struct ArrowArray *children[] = {&child};
    struct ArrowArray list = {.length = 3, .n_buffers = 3, .buffers = list_buffers, .n_children = 1, .children = children};
    struct ArrowArrayView view;
    CHECK(ArrowArrayViewInitFromSchema(&view, &schema, NULL));
    CHECK(ArrowArrayViewSetArray(&view, &list, NULL));
    CHECK(ArrowArrayViewValidate(&view, NANOARROW_VALIDATION_LEVEL_FULL, NULL));
    printf("offsets: %" PRId64 " bytes, sizes: %" PRId64 " bytes\n", view.buffer_views[1].size_bytes, view.buffer_views[2].size_bytes);
    ArrowArrayViewReset(&view);
    schema.release(&schema);
    return 0;
}
C
cc -std=c11 -I"$vendor/include" -o sizes sizes.c "$vendor/src/nanoarrow.c"

seen=$(./sizes)
printf '%s\n' "$seen"
if [ "$seen" != "offsets: 12 bytes, sizes: -1 bytes" ]; then
  echo "this finding does not hold any more" >&2
  exit 1
fi
