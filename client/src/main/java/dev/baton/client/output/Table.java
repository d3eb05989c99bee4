package dev.baton.client.output;

import java.util.ArrayList;
import java.util.List;

/** Aligned columns; numbers to the right. */
public final class Table {
  private final List<String> header;
  private final List<List<String>> rows = new ArrayList<>();

  public Table(String... header) {
    this.header = List.of(header);
  }

  /** Adds a row, one cell for each column. */
  public void row(Object... cells) {
    if (cells.length != header.size()) {
      throw new IllegalArgumentException(cells.length + " cells for " + header.size() + " columns");
    }
    List<String> row = new ArrayList<>();
    for (Object cell : cells) {
      row.add(Printable.line(String.valueOf(cell)));
    }
    rows.add(row);
  }

  /** Lines with an end each; the header alone where there are no rows. */
  @Override
  public String toString() {
    StringBuilder text = new StringBuilder();
    line(text, header);
    rows.forEach(row -> line(text, row));
    return text.toString();
  }

  private void line(StringBuilder text, List<String> cells) {
    StringBuilder line = new StringBuilder();
    for (int i = 0; i < cells.size(); i++) {
      String gap = " ".repeat(width(i) - cells.get(i).length());
      line.append(i == 0 ? "" : "  ").append(right(i) ? gap + cells.get(i) : cells.get(i) + gap);
    }
    text.append(line.toString().stripTrailing()).append('\n');
  }

  private int width(int column) {
    int width = header.get(column).length();
    for (List<String> row : rows) {
      width = Math.max(width, row.get(column).length());
    }
    return width;
  }

  private boolean right(int column) {
    return !rows.isEmpty()
        && rows.stream()
            .allMatch(
                row ->
                    row.get(column).equals("-")
                        || row.get(column)
                            .matches(
                                "-?[0-9]+([.][0-9]+)?(e[-+]?[0-9]+)?(/[0-9]+)?( [KMGTP]?i?B)?"));
  }
}
