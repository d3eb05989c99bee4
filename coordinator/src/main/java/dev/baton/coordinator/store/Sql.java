package dev.baton.coordinator.store;

import dev.baton.coordinator.core.StoreException;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * Plain SQL over one connection, each text prepared once. For one thread at a time. Arguments are
 * Long, Integer, Double, String, byte[], Boolean (as 0 and 1) or null.
 */
final class Sql implements AutoCloseable {
  private final Connection connection;
  private final Path file;
  private final Map<String, PreparedStatement> prepared = new HashMap<>();

  /**
   * @param file where the database lies
   */
  Sql(Connection connection, Path file) {
    this.connection = connection;
    this.file = file;
  }

  /** Makes a value of the row at hand. */
  @FunctionalInterface
  interface RowReader<T> {
    T read(ResultSet row) throws SQLException;
  }

  /** Runs a statement and returns the number of rows it changed. */
  int update(String sql, @Nullable Object... arguments) {
    try {
      return bind(sql, arguments).executeUpdate();
    } catch (SQLException e) {
      throw failed(sql, e);
    }
  }

  /** The driver closes a statement that failed, so that it must be prepared anew. */
  private StoreException failed(String sql, SQLException e) {
    prepared.remove(sql);
    return SqliteErrors.translate(e, file);
  }

  /** Every row. */
  <T> List<T> list(String sql, RowReader<T> reader, @Nullable Object... arguments) {
    var rows = new ArrayList<T>();
    try (ResultSet result = bind(sql, arguments).executeQuery()) {
      while (result.next()) {
        rows.add(reader.read(result));
      }
    } catch (SQLException e) {
      throw failed(sql, e);
    }
    return rows;
  }

  /** Every row, one at a time. */
  <T> void forEach(
      String sql, RowReader<T> reader, Consumer<T> each, @Nullable Object... arguments) {
    try (ResultSet result = bind(sql, arguments).executeQuery()) {
      while (result.next()) {
        each.accept(reader.read(result));
      }
    } catch (SQLException e) {
      throw failed(sql, e);
    }
  }

  /** The first row. */
  <T> Optional<T> first(String sql, RowReader<T> reader, @Nullable Object... arguments) {
    try (ResultSet result = bind(sql, arguments).executeQuery()) {
      return result.next() ? Optional.of(reader.read(result)) : Optional.empty();
    } catch (SQLException e) {
      throw failed(sql, e);
    }
  }

  /** Runs a text of any number of statements, unprepared. */
  void script(String text) {
    try (var statement = connection.createStatement()) {
      statement.executeUpdate(text);
    } catch (SQLException e) {
      throw SqliteErrors.translate(e, file);
    }
  }

  /** Ends the transaction, if one is open, without its changes. */
  void rollback() {
    try (var statement = connection.createStatement()) {
      statement.executeUpdate("ROLLBACK");
    } catch (SQLException e) {
      if (!String.valueOf(e.getMessage()).contains("no transaction is active")) {
        throw SqliteErrors.translate(e, file);
      }
    }
  }

  private PreparedStatement bind(String sql, @Nullable Object... arguments) throws SQLException {
    PreparedStatement statement = prepared.get(sql);
    if (statement == null) {
      statement = connection.prepareStatement(sql);
      prepared.put(sql, statement);
    }
    for (int i = 0; i < arguments.length; i++) {
      Object value = arguments[i];
      if (value instanceof String text) {
        statement.setString(i + 1, text);
      } else if (value instanceof Long number) {
        statement.setLong(i + 1, number);
      } else if (value instanceof Integer number) {
        statement.setInt(i + 1, number);
      } else if (value instanceof Boolean truth) {
        statement.setInt(i + 1, truth ? 1 : 0);
      } else if (value instanceof Double number) {
        statement.setDouble(i + 1, number);
      } else if (value instanceof byte[] bytes) {
        statement.setBytes(i + 1, bytes);
      } else if (value == null) {
        statement.setObject(i + 1, null);
      } else {
        throw new IllegalArgumentException("no SQL type for " + value.getClass());
      }
    }
    return statement;
  }

  @Override
  public void close() {
    try {
      connection.close();
    } catch (SQLException e) {
      throw SqliteErrors.translate(e, file);
    }
  }
}
