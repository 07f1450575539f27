/* Prints the layout of ADBC's structures, as the compiler gives it with the specification's header, as JSON. */
#include <stddef.h>
#include <stdio.h>
#include "arrow-adbc/adbc.h"

#define FIELD(type, field) printf(", \"%s\": %zu", #field, offsetof(struct type, field))
#define BEGIN(type) printf("\"%s\": {\"size\": %zu", #type, sizeof(struct type))
#define END() printf("}")

int main(void) {
  printf("{");
  BEGIN(AdbcError);
  FIELD(AdbcError, message);
  FIELD(AdbcError, vendor_code);
  FIELD(AdbcError, sqlstate);
  FIELD(AdbcError, release);
  FIELD(AdbcError, private_data);
  FIELD(AdbcError, private_driver);
  END();
  printf(", ");
  BEGIN(AdbcErrorDetail);
  FIELD(AdbcErrorDetail, key);
  FIELD(AdbcErrorDetail, value);
  FIELD(AdbcErrorDetail, value_length);
  END();
  printf(", ");
  BEGIN(AdbcDatabase);
  FIELD(AdbcDatabase, private_data);
  FIELD(AdbcDatabase, private_driver);
  END();
  printf(", ");
  BEGIN(AdbcConnection);
  FIELD(AdbcConnection, private_data);
  FIELD(AdbcConnection, private_driver);
  END();
  printf(", ");
  BEGIN(AdbcStatement);
  FIELD(AdbcStatement, private_data);
  FIELD(AdbcStatement, private_driver);
  END();
  printf(", ");
  BEGIN(AdbcPartitions);
  FIELD(AdbcPartitions, num_partitions);
  FIELD(AdbcPartitions, partitions);
  FIELD(AdbcPartitions, partition_lengths);
  FIELD(AdbcPartitions, private_data);
  FIELD(AdbcPartitions, release);
  END();
  printf(", ");
  BEGIN(AdbcDriver);
#define DRIVER(field) FIELD(AdbcDriver, field)
  DRIVER(private_data);
  DRIVER(private_manager);
  DRIVER(release);
  DRIVER(DatabaseInit);
  DRIVER(DatabaseNew);
  DRIVER(DatabaseSetOption);
  DRIVER(DatabaseRelease);
  DRIVER(ConnectionCommit);
  DRIVER(ConnectionGetInfo);
  DRIVER(ConnectionGetObjects);
  DRIVER(ConnectionGetTableSchema);
  DRIVER(ConnectionGetTableTypes);
  DRIVER(ConnectionInit);
  DRIVER(ConnectionNew);
  DRIVER(ConnectionSetOption);
  DRIVER(ConnectionReadPartition);
  DRIVER(ConnectionRelease);
  DRIVER(ConnectionRollback);
  DRIVER(StatementBind);
  DRIVER(StatementBindStream);
  DRIVER(StatementExecuteQuery);
  DRIVER(StatementExecutePartitions);
  DRIVER(StatementGetParameterSchema);
  DRIVER(StatementNew);
  DRIVER(StatementPrepare);
  DRIVER(StatementRelease);
  DRIVER(StatementSetOption);
  DRIVER(StatementSetSqlQuery);
  DRIVER(StatementSetSubstraitPlan);
  DRIVER(ErrorGetDetailCount);
  DRIVER(ErrorGetDetail);
  DRIVER(ErrorFromArrayStream);
  DRIVER(DatabaseGetOption);
  DRIVER(DatabaseGetOptionBytes);
  DRIVER(DatabaseGetOptionDouble);
  DRIVER(DatabaseGetOptionInt);
  DRIVER(DatabaseSetOptionBytes);
  DRIVER(DatabaseSetOptionDouble);
  DRIVER(DatabaseSetOptionInt);
  DRIVER(ConnectionCancel);
  DRIVER(ConnectionGetOption);
  DRIVER(ConnectionGetOptionBytes);
  DRIVER(ConnectionGetOptionDouble);
  DRIVER(ConnectionGetOptionInt);
  DRIVER(ConnectionGetStatistics);
  DRIVER(ConnectionGetStatisticNames);
  DRIVER(ConnectionSetOptionBytes);
  DRIVER(ConnectionSetOptionDouble);
  DRIVER(ConnectionSetOptionInt);
  DRIVER(StatementCancel);
  DRIVER(StatementExecuteSchema);
  DRIVER(StatementGetOption);
  DRIVER(StatementGetOptionBytes);
  DRIVER(StatementGetOptionDouble);
  DRIVER(StatementGetOptionInt);
  DRIVER(StatementSetOptionBytes);
  DRIVER(StatementSetOptionDouble);
  DRIVER(StatementSetOptionInt);
  END();
  printf("}\n");
  _Static_assert(ADBC_DRIVER_1_0_0_SIZE == offsetof(struct AdbcDriver, ErrorGetDetailCount), "ADBC 1.0.0");
  _Static_assert(ADBC_VERSION_1_0_0 == 1000000 && ADBC_VERSION_1_1_0 == 1001000, "versions");
  _Static_assert(ADBC_ERROR_VENDOR_CODE_PRIVATE_DATA == (-2147483647 - 1), "vendor code");
  _Static_assert(sizeof(AdbcStatusCode) == 1, "status");
  return 0;
}
