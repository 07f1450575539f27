/*
 * An ADBC driver for tests: its queries are a few words, and it watches its user. Calls on one connection that meet, handles that
 * are used after their release or released before what they gave, and structures that are never released are counted as faults.
 *
 * The option "slow" of a database lets connections wait until they are cancelled.
 * Queries: "rows N" gives N batches of one column, "slow N" later; "fail N" fails after N of them; "wait" waits in the execution until it is
 * cancelled, "hang" in the stream; "error" fails; anything else takes the rows that were bound, and says how many they were.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "arrow-adbc/adbc.h"

#define EXPORT __attribute__((visibility("default")))
#define WAIT_SECONDS 20

/* What a handle is, as one of the other kind has the same layout. */
enum { DATABASE = 0xdb, CONNECTION = 0xc0 };

struct database {
  int kind;
  atomic_int connections;
  int is_initialised, is_slow;
};

struct connection {
  int kind;
  struct database* database;
  atomic_int busy, statements, streams, is_cancelled;
};

struct statement {
  struct connection* connection;
  atomic_int streams;
  char* query;
  struct ArrowArrayStream bound;
  struct ArrowArray array;
};

struct stream {
  struct connection* connection;
  struct statement* statement; /* NULL for streams of the connection */
  int left, error_after, hangs, first;
  struct AdbcError error;
};

static atomic_llong live, faults, driver_releases;

EXPORT int64_t fake_live(void) { return live; }
EXPORT int64_t fake_faults(void) { return faults; }
EXPORT int64_t fake_driver_releases(void) { return driver_releases; }

static void enter(struct connection* connection) {
  if (atomic_fetch_add(&connection->busy, 1) != 0) faults++;
}

static AdbcStatusCode leave(struct connection* connection, AdbcStatusCode status) {
  /* Long enough for a call that comes concurrently to be noticed. */
  usleep(20);
  connection->busy--;
  return status;
}

/* Errors */

static void release_error(struct AdbcError* error) {
  if (error->message == NULL) faults++;
  free(error->message);
  memset(error, 0, sizeof(char*));
  error->release = NULL;
  live--;
}

static AdbcStatusCode fail(struct AdbcError* error, AdbcStatusCode status, const char* message, const char* state, int vendor) {
  if (error == NULL) return status;
  if (error->release != NULL) faults++;
  error->message = strdup(message);
  memcpy(error->sqlstate, state, 5);
  if (vendor != 0) {
    error->vendor_code = vendor;
  } else if (error->vendor_code == ADBC_ERROR_VENDOR_CODE_PRIVATE_DATA) {
    error->private_data = "details";
  }
  error->release = release_error;
  live++;
  return status;
}

static int detail_count(const struct AdbcError* error) { return error->private_data != NULL ? 3 : 0; }

static struct AdbcErrorDetail detail(const struct AdbcError* error, int index) {
  static const struct AdbcErrorDetail all[] = {
      {"reason", (const uint8_t*)"because", 7}, {"packed-bin", (const uint8_t*)"\0\1\2", 3}, {"empty", NULL, 0}};
  struct AdbcErrorDetail none = {NULL, NULL, 0};
  return error->private_data != NULL && index >= 0 && index < 3 ? all[index] : none;
}

/* Streams */

static void release_int_schema(struct ArrowSchema* schema) {
  for (int64_t i = 0; i < schema->n_children; i++) {
    schema->children[i]->release(schema->children[i]);
    free(schema->children[i]);
  }
  free(schema->children);
  schema->release = NULL;
  live--;
}

static void make_schema(struct ArrowSchema* out) {
  memset(out, 0, sizeof *out);
  struct ArrowSchema* child = calloc(1, sizeof *child);
  *child = (struct ArrowSchema){.format = "i", .name = "n", .release = release_int_schema};
  out->format = "+s";
  out->name = "";
  out->n_children = 1;
  out->children = malloc(sizeof child);
  out->children[0] = child;
  out->release = release_int_schema;
  live += 2;
}

static void release_array(struct ArrowArray* array) {
  for (int64_t i = 0; i < array->n_children; i++) {
    array->children[i]->release(array->children[i]);
    free(array->children[i]);
  }
  free(array->children);
  free(array->private_data);
  free(array->buffers);
  array->release = NULL;
  live--;
}

static void make_array(struct ArrowArray* out, int value) {
  memset(out, 0, sizeof *out);
  struct ArrowArray* child = calloc(1, sizeof *child);
  int32_t* values = malloc(4);
  values[0] = value;
  *child = (struct ArrowArray){.length = 1, .n_buffers = 2, .buffers = calloc(2, 8), .private_data = values};
  child->buffers[1] = values;
  child->release = release_array;
  out->length = 1;
  out->n_buffers = 1;
  out->buffers = calloc(1, 8);
  out->n_children = 1;
  out->children = malloc(sizeof child);
  out->children[0] = child;
  out->release = release_array;
  live += 2;
}

static AdbcStatusCode wait_for_cancel(struct connection* connection) {
  for (int i = 0; i < WAIT_SECONDS * 1000; i++) {
    if (atomic_exchange(&connection->is_cancelled, 0)) return ADBC_STATUS_CANCELLED;
    usleep(1000);
  }
  return ADBC_STATUS_TIMEOUT;
}

static int stream_schema(struct ArrowArrayStream* stream, struct ArrowSchema* out) {
  struct stream* own = stream->private_data;
  enter(own->connection);
  make_schema(out);
  leave(own->connection, 0);
  return 0;
}

static int stream_next(struct ArrowArrayStream* stream, struct ArrowArray* out) {
  struct stream* own = stream->private_data;
  enter(own->connection);
  memset(out, 0, sizeof *out);
  int result = 0;
  if (own->hangs) {
    wait_for_cancel(own->connection);
    result = ECANCELED;
  } else if (own->error_after == 0) {
    if (own->error.release == NULL) {
      own->error = (struct AdbcError)ADBC_ERROR_INIT;
      fail(&own->error, ADBC_STATUS_INTEGRITY, "the stream broke", "23505", 0);
    }
    result = EIO;
  } else if (own->left > 0) {
    own->left--;
    own->error_after--;
    make_array(out, own->first++);
  }
  leave(own->connection, 0);
  return result;
}

static const char* stream_error(struct ArrowArrayStream* stream) {
  struct stream* own = stream->private_data;
  return own->error.message != NULL ? own->error.message : "cancelled";
}

static void stream_release(struct ArrowArrayStream* stream) {
  struct stream* own = stream->private_data;
  if (own == NULL) {
    faults++;
    return;
  }
  enter(own->connection);
  if (own->error.release != NULL) own->error.release(&own->error);
  if (own->statement != NULL) own->statement->streams--;
  own->connection->streams--;
  leave(own->connection, 0);
  free(own);
  stream->private_data = NULL;
  stream->release = NULL;
  live--;
}

static const struct AdbcError* error_of_stream(struct ArrowArrayStream* stream, AdbcStatusCode* status) {
  struct stream* own = stream->private_data;
  if (stream->get_next != stream_next || own->error.release == NULL) return NULL;
  if (status != NULL) *status = ADBC_STATUS_INTEGRITY;
  return &own->error;
}

static struct stream* make_stream(struct ArrowArrayStream* out, struct connection* connection, struct statement* statement) {
  struct stream* own = calloc(1, sizeof *own);
  own->connection = connection;
  own->statement = statement;
  own->error_after = -1;
  if (statement != NULL) statement->streams++;
  connection->streams++;
  live++;
  *out = (struct ArrowArrayStream){stream_schema, stream_next, stream_error, stream_release, own};
  return own;
}

/* Databases */

static AdbcStatusCode database_new(struct AdbcDatabase* database, struct AdbcError* error) {
  (void)error;
  if (database->private_data != NULL) faults++;
  database->private_data = calloc(1, sizeof(struct database));
  ((struct database*)database->private_data)->kind = DATABASE;
  live++;
  return ADBC_STATUS_OK;
}

static AdbcStatusCode database_set(struct AdbcDatabase* database, const char* key, const char* value, struct AdbcError* error) {
  if (strcmp(key, "slow") == 0) ((struct database*)database->private_data)->is_slow = 1;
  if (strcmp(key, "refuse") != 0) return ADBC_STATUS_OK;
  return fail(error, ADBC_STATUS_UNAUTHENTICATED, value, "28000", 0);
}

static AdbcStatusCode database_init(struct AdbcDatabase* database, struct AdbcError* error) {
  (void)error;
  ((struct database*)database->private_data)->is_initialised = 1;
  return ADBC_STATUS_OK;
}

static AdbcStatusCode database_release(struct AdbcDatabase* database, struct AdbcError* error) {
  (void)error;
  struct database* own = database->private_data;
  if (own == NULL || own->connections != 0) faults++;
  free(own);
  database->private_data = NULL;
  live--;
  return ADBC_STATUS_OK;
}

/* Options of every kind are kept in one place per kind of value. */
static char kept_text[4096];
static uint8_t kept_bytes[8192];
static size_t kept_length;
static double kept_double;
static int64_t kept_int;

#define OPTIONS(NAME, TYPE)                                                                                          \
  static AdbcStatusCode NAME##_set(struct TYPE* it, const char* key, const char* value, struct AdbcError* error) {   \
    (void)it, (void)key, (void)error;                                                                                \
    snprintf(kept_text, sizeof kept_text, "%s", value);                                                              \
    return ADBC_STATUS_OK;                                                                                           \
  }                                                                                                                  \
  OPTIONS_1_1(NAME, TYPE)

#define OPTIONS_1_1(NAME, TYPE)                                                                                      \
  static AdbcStatusCode NAME##_get(struct TYPE* it, const char* key, char* out, size_t* length, struct AdbcError* e) { \
    (void)it;                                                                                                        \
    if (strcmp(key, "unknown") == 0) return fail(e, ADBC_STATUS_NOT_FOUND, "there is none", "\0\0\0\0", 0);           \
    size_t size = strlen(kept_text) + 1;                                                                             \
    if (size <= *length) memcpy(out, kept_text, size);                                                               \
    *length = size;                                                                                                  \
    return ADBC_STATUS_OK;                                                                                           \
  }                                                                                                                  \
  static AdbcStatusCode NAME##_get_bytes(struct TYPE* it, const char* key, uint8_t* out, size_t* length,             \
                                         struct AdbcError* error) {                                                  \
    (void)it, (void)key, (void)error;                                                                                \
    if (kept_length <= *length) memcpy(out, kept_bytes, kept_length);                                                \
    *length = kept_length;                                                                                           \
    return ADBC_STATUS_OK;                                                                                           \
  }                                                                                                                  \
  static AdbcStatusCode NAME##_get_double(struct TYPE* it, const char* key, double* out, struct AdbcError* error) {  \
    (void)it, (void)key, (void)error;                                                                                \
    *out = kept_double;                                                                                              \
    return ADBC_STATUS_OK;                                                                                           \
  }                                                                                                                  \
  static AdbcStatusCode NAME##_get_int(struct TYPE* it, const char* key, int64_t* out, struct AdbcError* error) {    \
    (void)it, (void)key, (void)error;                                                                                \
    *out = kept_int;                                                                                                 \
    return ADBC_STATUS_OK;                                                                                           \
  }                                                                                                                  \
  static AdbcStatusCode NAME##_set_bytes(struct TYPE* it, const char* key, const uint8_t* value, size_t length,      \
                                         struct AdbcError* error) {                                                  \
    (void)it, (void)key, (void)error;                                                                                \
    if (length > sizeof kept_bytes) return ADBC_STATUS_INVALID_ARGUMENT;                                             \
    memcpy(kept_bytes, value, kept_length = length);                                                                 \
    return ADBC_STATUS_OK;                                                                                           \
  }                                                                                                                  \
  static AdbcStatusCode NAME##_set_double(struct TYPE* it, const char* key, double value, struct AdbcError* error) { \
    (void)it, (void)key, (void)error;                                                                                \
    kept_double = value;                                                                                             \
    return ADBC_STATUS_OK;                                                                                           \
  }                                                                                                                  \
  static AdbcStatusCode NAME##_set_int(struct TYPE* it, const char* key, int64_t value, struct AdbcError* error) {   \
    (void)it, (void)key, (void)error;                                                                                \
    kept_int = value;                                                                                                \
    return ADBC_STATUS_OK;                                                                                           \
  }

OPTIONS_1_1(database, AdbcDatabase)
OPTIONS(connection, AdbcConnection)
OPTIONS(statement, AdbcStatement)

/* Connections */

static AdbcStatusCode connection_new(struct AdbcConnection* connection, struct AdbcError* error) {
  (void)error;
  if (connection->private_data != NULL) faults++;
  /* Long enough for a cancel that comes too early to be noticed. */
  usleep(500);
  connection->private_data = calloc(1, sizeof(struct connection));
  ((struct connection*)connection->private_data)->kind = CONNECTION;
  live++;
  return ADBC_STATUS_OK;
}

static AdbcStatusCode connection_init(struct AdbcConnection* connection, struct AdbcDatabase* database, struct AdbcError* error) {
  struct connection* own = connection->private_data;
  own->database = database->private_data;
  if (own->database == NULL || !own->database->is_initialised) faults++;
  own->database->connections++;
  if (own->database->is_slow) return fail(error, wait_for_cancel(own), "waited", "\0\0\0\0", 0);
  return ADBC_STATUS_OK;
}

static AdbcStatusCode connection_release(struct AdbcConnection* connection, struct AdbcError* error) {
  (void)error;
  struct connection* own = connection->private_data;
  if (own == NULL || own->statements != 0 || own->streams != 0 || own->busy != 0) faults++;
  if (own->database != NULL) own->database->connections--;
  free(own);
  connection->private_data = NULL;
  live--;
  return ADBC_STATUS_OK;
}

static AdbcStatusCode connection_cancel(struct AdbcConnection* connection, struct AdbcError* error) {
  (void)error;
  struct connection* own = connection->private_data;
  if (own == NULL || own->kind != CONNECTION) faults++;
  else own->is_cancelled = 1;
  return ADBC_STATUS_OK;
}

static AdbcStatusCode connection_table_types(struct AdbcConnection* connection, struct ArrowArrayStream* out, struct AdbcError* error) {
  (void)error;
  struct connection* own = connection->private_data;
  enter(own);
  make_stream(out, own, NULL)->left = 2;
  return leave(own, ADBC_STATUS_OK);
}

static AdbcStatusCode connection_read_partition(struct AdbcConnection* connection, const uint8_t* name, size_t length,
                                                struct ArrowArrayStream* out, struct AdbcError* error) {
  struct connection* own = connection->private_data;
  if (length != 2 || name[0] != 'p') return fail(error, ADBC_STATUS_NOT_FOUND, "no such partition", "\0\0\0\0", 0);
  enter(own);
  struct stream* stream = make_stream(out, own, NULL);
  stream->left = 1;
  stream->first = name[1];
  return leave(own, ADBC_STATUS_OK);
}

/* Statements */

static AdbcStatusCode statement_new(struct AdbcConnection* connection, struct AdbcStatement* statement, struct AdbcError* error) {
  (void)error;
  struct statement* own = calloc(1, sizeof *own);
  if (statement->private_data != NULL) faults++;
  own->connection = connection->private_data;
  own->connection->statements++;
  statement->private_data = own;
  live++;
  return ADBC_STATUS_OK;
}

static void release_bound(struct statement* own) {
  if (own->bound.release != NULL) own->bound.release(&own->bound);
  if (own->array.release != NULL) own->array.release(&own->array);
}

static AdbcStatusCode statement_release(struct AdbcStatement* statement, struct AdbcError* error) {
  (void)error;
  struct statement* own = statement->private_data;
  if (own == NULL || own->streams != 0) faults++;
  enter(own->connection);
  release_bound(own);
  own->connection->statements--;
  leave(own->connection, 0);
  free(own->query);
  free(own);
  statement->private_data = NULL;
  live--;
  return ADBC_STATUS_OK;
}

static AdbcStatusCode statement_query(struct AdbcStatement* statement, const char* query, struct AdbcError* error) {
  (void)error;
  struct statement* own = statement->private_data;
  if (own->streams != 0) faults++;
  enter(own->connection);
  free(own->query);
  own->query = strdup(query);
  return leave(own->connection, ADBC_STATUS_OK);
}

static AdbcStatusCode statement_bind(struct AdbcStatement* statement, struct ArrowArray* values, struct ArrowSchema* schema,
                                     struct AdbcError* error) {
  (void)error;
  struct statement* own = statement->private_data;
  enter(own->connection);
  release_bound(own);
  own->array = *values;
  values->release = NULL;
  schema->release(schema);
  return leave(own->connection, ADBC_STATUS_OK);
}

static AdbcStatusCode statement_bind_stream(struct AdbcStatement* statement, struct ArrowArrayStream* values, struct AdbcError* error) {
  (void)error;
  struct statement* own = statement->private_data;
  enter(own->connection);
  release_bound(own);
  own->bound = *values;
  values->release = NULL;
  return leave(own->connection, ADBC_STATUS_OK);
}

static AdbcStatusCode take_bound(struct statement* own, int64_t* rows, struct AdbcError* error) {
  int64_t count = own->array.release != NULL ? own->array.length : 0;
  while (own->bound.release != NULL) {
    struct ArrowArray array = {0};
    if (own->bound.get_next(&own->bound, &array) != 0) {
      return fail(error, ADBC_STATUS_IO, own->bound.get_last_error(&own->bound), "\0\0\0\0", 0);
    }
    if (array.release == NULL) break;
    count += array.length;
    array.release(&array);
  }
  release_bound(own);
  if (rows != NULL) *rows = count;
  return ADBC_STATUS_OK;
}

static AdbcStatusCode execute(struct statement* own, struct ArrowArrayStream* out, int64_t* rows, struct AdbcError* error) {
  const char* query = own->query != NULL ? own->query : "";
  int number = 0;
  if (strcmp(query, "error") == 0) return fail(error, ADBC_STATUS_INTEGRITY, "a line\nand another", "23505", 0);
  if (strcmp(query, "vendor") == 0) return fail(error, ADBC_STATUS_INVALID_DATA, "of the vendor", "22012", 77);
  if (strcmp(query, "silent") == 0) return ADBC_STATUS_UNKNOWN;
  if (strcmp(query, "wait") == 0) {
    AdbcStatusCode status = wait_for_cancel(own->connection);
    return fail(error, status, "waited", "57014", 0);
  }
  if (out == NULL) return take_bound(own, rows, error);
  struct stream* stream = make_stream(out, own->connection, own);
  if (sscanf(query, "rows %d", &number) == 1) stream->left = number;
  if (sscanf(query, "slow %d", &number) == 1) {
    usleep(60000);
    stream->left = number;
  }
  if (sscanf(query, "fail %d", &number) == 1) stream->error_after = stream->left = number;
  if (strcmp(query, "hang") == 0) stream->hangs = 1;
  if (rows != NULL) *rows = -1;
  return ADBC_STATUS_OK;
}

static AdbcStatusCode statement_execute(struct AdbcStatement* statement, struct ArrowArrayStream* out, int64_t* rows,
                                        struct AdbcError* error) {
  struct statement* own = statement->private_data;
  if (own->streams != 0) faults++; /* they would be invalid now */
  enter(own->connection);
  own->connection->is_cancelled = 0;
  return leave(own->connection, execute(own, out, rows, error));
}

static AdbcStatusCode statement_cancel(struct AdbcStatement* statement, struct AdbcError* error) {
  (void)error;
  struct statement* own = statement->private_data;
  if (own == NULL) faults++;
  else own->connection->is_cancelled = 1;
  return ADBC_STATUS_OK;
}

static void release_partitions(struct AdbcPartitions* partitions) {
  free(partitions->private_data);
  partitions->release = NULL;
  live--;
}

static AdbcStatusCode statement_partitions(struct AdbcStatement* statement, struct ArrowSchema* schema,
                                           struct AdbcPartitions* out, int64_t* rows, struct AdbcError* error) {
  (void)statement, (void)error;
  static const uint8_t* const names[] = {(const uint8_t*)"p\1", (const uint8_t*)"p\2", (const uint8_t*)"p\3"};
  static const size_t lengths[] = {2, 2, 2};
  make_schema(schema);
  *out = (struct AdbcPartitions){3, (const uint8_t**)names, lengths, malloc(1), release_partitions};
  live++;
  if (rows != NULL) *rows = 3;
  return ADBC_STATUS_OK;
}

static AdbcStatusCode statement_schema(struct AdbcStatement* statement, struct ArrowSchema* out, struct AdbcError* error) {
  (void)statement, (void)error;
  make_schema(out);
  return ADBC_STATUS_OK;
}

static AdbcStatusCode release_driver(struct AdbcDriver* driver, struct AdbcError* error) {
  (void)error;
  driver->release = NULL;
  driver_releases++;
  return ADBC_STATUS_OK;
}

EXPORT AdbcStatusCode AdbcDriverInit(int version, void* raw, struct AdbcError* error) {
  (void)error;
  struct AdbcDriver* driver = raw;
  if (version != ADBC_VERSION_1_0_0 && version != ADBC_VERSION_1_1_0) return ADBC_STATUS_NOT_IMPLEMENTED;
  memset(driver, 0, version == ADBC_VERSION_1_0_0 ? ADBC_DRIVER_1_0_0_SIZE : ADBC_DRIVER_1_1_0_SIZE);
  driver->release = release_driver;
  driver->DatabaseInit = database_init;
  driver->DatabaseNew = database_new;
  driver->DatabaseSetOption = database_set;
  driver->DatabaseRelease = database_release;
  driver->ConnectionNew = connection_new;
  driver->ConnectionInit = connection_init;
  driver->ConnectionRelease = connection_release;
  driver->ConnectionSetOption = connection_set;
  driver->ConnectionGetTableTypes = connection_table_types;
  driver->ConnectionReadPartition = connection_read_partition;
  driver->StatementNew = statement_new;
  driver->StatementRelease = statement_release;
  driver->StatementBind = statement_bind;
  driver->StatementBindStream = statement_bind_stream;
  driver->StatementSetSqlQuery = statement_query;
  driver->StatementSetOption = statement_set;
  driver->StatementExecuteQuery = statement_execute;
  driver->StatementExecutePartitions = statement_partitions;
  if (version == ADBC_VERSION_1_0_0) return ADBC_STATUS_OK;
  driver->ErrorGetDetailCount = detail_count;
  driver->ErrorGetDetail = detail;
  driver->ErrorFromArrayStream = error_of_stream;
#define ALL_OPTIONS(KIND, NAME)                            \
  driver->KIND##GetOption = NAME##_get;                    \
  driver->KIND##GetOptionBytes = NAME##_get_bytes;         \
  driver->KIND##GetOptionDouble = NAME##_get_double;       \
  driver->KIND##GetOptionInt = NAME##_get_int;             \
  driver->KIND##SetOptionBytes = NAME##_set_bytes;         \
  driver->KIND##SetOptionDouble = NAME##_set_double;       \
  driver->KIND##SetOptionInt = NAME##_set_int;
  ALL_OPTIONS(Database, database)
  ALL_OPTIONS(Connection, connection)
  ALL_OPTIONS(Statement, statement)
  driver->ConnectionCancel = connection_cancel;
  driver->StatementCancel = statement_cancel;
  driver->StatementExecuteSchema = statement_schema;
  return ADBC_STATUS_OK;
}

/* A driver of ADBC 1.0.0, which fills the later fields with what means nothing. */
EXPORT AdbcStatusCode init_1_0(int version, void* raw, struct AdbcError* error) {
  if (version != ADBC_VERSION_1_0_0) return ADBC_STATUS_NOT_IMPLEMENTED;
  memset(raw, 0xee, sizeof(struct AdbcDriver));
  return AdbcDriverInit(version, raw, error);
}

EXPORT AdbcStatusCode init_fails(int version, void* raw, struct AdbcError* error) {
  (void)version, (void)raw;
  return fail(error, ADBC_STATUS_IO, "the licence has expired", "\0\0\0\0", 0);
}

/* A driver that has nothing but the beginning. */
EXPORT AdbcStatusCode init_empty(int version, void* raw, struct AdbcError* error) {
  AdbcStatusCode status = AdbcDriverInit(version, raw, error);
  struct AdbcDriver* driver = raw;
  driver->StatementNew = NULL;
  driver->ErrorGetDetail = NULL;
  return status;
}
