package dev.baton.deploy;

import java.io.IOException;
import java.nio.file.Files;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * The commands of deploy/README.md, in one of its languages.
 *
 * @param blocks in their order
 */
record DeployReadme(List<Block> blocks) {
  private static final Pattern FENCE =
      Pattern.compile(
          "^( *)(?:<!-- ([a-z ]+): ([^\n]*) -->\n *)?```(\\w+)\n(.*?)^ *```\n",
          Pattern.DOTALL | Pattern.MULTILINE);

  DeployReadme {
    blocks = List.copyOf(blocks);
  }

  /**
   * A block of commands.
   *
   * @param marker what stands above it: {@code tested} or {@code not tested}; empty where nothing
   * @param about of a tested one its name, else why it is not
   */
  record Block(String marker, String about, String language, String text) {}

  /** Reads {@code README.md} or its translation. */
  static DeployReadme read(String file) throws IOException {
    Matcher fence =
        FENCE.matcher(Files.readString(LocalCluster.root().resolve("deploy").resolve(file)));
    List<Block> blocks = new ArrayList<>();
    while (fence.find()) {
      String text = fence.group(5).replaceAll("(?m)^" + fence.group(1), "");
      blocks.add(
          new Block(
              fence.group(2) == null ? "" : fence.group(2),
              fence.group(3) == null ? "" : fence.group(3),
              fence.group(4),
              text));
    }
    return new DeployReadme(blocks);
  }

  /** The commands of a tested block. */
  String tested(String name) {
    return blocks.stream()
        .filter(block -> block.marker().equals("tested") && block.about().equals(name))
        .map(Block::text)
        .findFirst()
        .orElseThrow(() -> new IllegalArgumentException("no tested block " + name));
  }
}
