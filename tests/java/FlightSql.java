import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.sql.Connection;
import java.sql.DatabaseMetaData;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.Arrays;
import java.util.TreeSet;

/**
 * Uses a Flight SQL server by Arrow's JDBC driver, as a browser of databases does. Prints one line for each thing that it found.
 *
 * <pre>java --add-opens=java.base/java.nio=ALL-UNNAMED -cp DRIVER FlightSql.java HOST:PORT ROWS</pre>
 */
public class FlightSql {
  public static void main(String[] args) throws Exception {
    String url = "jdbc:arrow-flight-sql://" + args[0] + "?useEncryption=false";
    try (Connection connection = DriverManager.getConnection(url)) {
      statements(connection, Integer.parseInt(args[1]));
      metadata(connection.getMetaData());
      session(connection, url);
    }
  }

  /** The table that a session's catalog has, for a statement and for one that is prepared. */
  private static void session(Connection connection, String url) throws SQLException {
    try (Statement statement = connection.createStatement()) {
      statement.executeUpdate("create table tables.places as select 'elsewhere' as place");
    }
    Connection other = DriverManager.getConnection(url + "&catalog=tables");
    try (Statement statement = other.createStatement();
        PreparedStatement prepared = other.prepareStatement("select * from places");
        ResultSet rows = statement.executeQuery("select * from places");
        ResultSet same = prepared.executeQuery()) {
      System.out.println("catalog and schema of the session: " + all(rows, "place") + "; " + all(same, "place"));
    }
    try {
      other.close();
    } catch (SQLException error) {
      // With a catalog the driver shuts its channel down first, and then wants to close the session by it.
      if (!error.getMessage().contains("Channel shutdown invoked")) throw error;
    }
  }

  private static void statements(Connection connection, int many) throws SQLException {
    try (Statement statement = connection.createStatement()) {
      statement.executeUpdate("create table jdbc (id integer primary key, s varchar, d date, n decimal(10, 2), t timestamp)");
      int changed = statement.executeUpdate(
          "insert into jdbc values (1, 'a', date '2020-02-29', 1.25, timestamp '2020-02-29 01:02:03'), (2, null, null, null, null)");
      System.out.println("update: " + changed);
      try (ResultSet rows = statement.executeQuery("select * from jdbc order by id")) {
        System.out.println("query: " + all(rows, "id", "s", "d", "n", "t"));
      }
    }
    try (PreparedStatement select = connection.prepareStatement("select s from jdbc where id = ? and s = ?")) {
      select.setInt(1, 1);
      select.setString(2, "a");
      try (ResultSet rows = select.executeQuery()) {
        System.out.println("query with parameters: " + all(rows, "s"));
      }
    }
    try (PreparedStatement insert = connection.prepareStatement("insert into jdbc values (?, ?, null, null, null)")) {
      for (int id = 10; id < 20; id++) {
        insert.setInt(1, id);
        insert.setString(2, "row " + id);
        insert.addBatch();
      }
      System.out.println("update with many rows of parameters: " + Arrays.stream(insert.executeBatch()).sum());
    }
    try (Statement statement = connection.createStatement();
        ResultSet rows = statement.executeQuery("select range as i, 'x' || range as s from range(" + many + ")")) {
      long count = 0, sum = 0;
      while (rows.next()) {
        count++;
        sum += rows.getLong("i");
      }
      System.out.println("many rows: " + count + " " + sum);
    }
  }

  private static void metadata(DatabaseMetaData data) throws Exception {
    System.out.println("information about the server: " + data.getDatabaseProductName() + " " + data.isReadOnly());
    try (ResultSet rows = data.getCatalogs()) {
      System.out.println("catalogs: " + all(rows, "TABLE_CAT"));
    }
    try (ResultSet rows = data.getSchemas()) {
      System.out.println("schemas: " + all(rows, "TABLE_CATALOG", "TABLE_SCHEM"));
    }
    try (ResultSet rows = data.getTableTypes()) {
      System.out.println("types of tables: " + all(rows, "TABLE_TYPE"));
    }
    try (ResultSet rows = data.getTables(null, null, "jd%", null)) {
      System.out.println("tables: " + all(rows, "TABLE_CAT", "TABLE_SCHEM", "TABLE_NAME", "TABLE_TYPE"));
    }
    try (ResultSet rows = data.getColumns(null, null, "jdbc", "%")) {
      System.out.println("columns: " + all(rows, "COLUMN_NAME", "TYPE_NAME"));
    }
    try (ResultSet rows = data.getPrimaryKeys(null, null, "jdbc")) {
      System.out.println("primary keys: " + all(rows, "COLUMN_NAME"));
    }
    int answered = 0;
    TreeSet<String> failed = new TreeSet<>();
    for (Method method : DatabaseMetaData.class.getMethods()) {
      if (method.getParameterCount() != 0 || method.getDeclaringClass() != DatabaseMetaData.class) continue;
      try {
        Object answer = method.invoke(data);
        if (answer instanceof ResultSet rows) rows.close();
        answered++;
      } catch (InvocationTargetException error) {
        failed.add(method.getName());
      }
    }
    System.out.println("all of DatabaseMetaData: " + (answered > 100) + " " + failed);
  }

  private static String all(ResultSet rows, String... columns) throws SQLException {
    StringBuilder text = new StringBuilder();
    while (rows.next()) {
      if (text.length() > 0) text.append("; ");
      for (int i = 0; i < columns.length; i++) text.append(i == 0 ? "" : " ").append(rows.getObject(columns[i]));
    }
    return text.toString();
  }
}
