package dev.baton.client.jobfile;

import java.util.Collection;
import java.util.Optional;

/** Suggests what a misspelt word was meant to be. */
public final class Spelling {
  private Spelling() {}

  /** {@code "; did you mean X?"}, or the words there are, or nothing where there are none. */
  public static String hint(String word, Collection<String> known) {
    return nearest(word, known)
        .map(near -> "; did you mean " + near + "?")
        .orElse(known.isEmpty() ? "" : "; known here: " + String.join(", ", known));
  }

  /** The known word with the fewest edits to this one, if they are few. */
  static Optional<String> nearest(String word, Collection<String> known) {
    String best = null;
    int fewest = Math.max(1, Math.min(3, word.length() / 2)) + 1;
    String plain = simplified(word);
    for (String candidate : known) {
      int edits = edits(plain, simplified(candidate));
      if (edits < fewest) {
        fewest = edits;
        best = candidate;
      }
    }
    return Optional.ofNullable(best);
  }

  private static String simplified(String word) {
    return word.toLowerCase(java.util.Locale.ROOT).replace("_", "").replace("-", "");
  }

  /** Insertions, deletions, substitutions and swaps of neighbours (optimal string alignment). */
  private static int edits(String a, String b) {
    if (a.length() > 64 || b.length() > 64) {
      return Integer.MAX_VALUE;
    }
    int[][] d = new int[a.length() + 1][b.length() + 1];
    for (int i = 0; i <= a.length(); i++) {
      for (int j = 0; j <= b.length(); j++) {
        if (i == 0 || j == 0) {
          d[i][j] = i + j;
          continue;
        }
        int substitute = d[i - 1][j - 1] + (a.charAt(i - 1) == b.charAt(j - 1) ? 0 : 1);
        d[i][j] = Math.min(substitute, 1 + Math.min(d[i - 1][j], d[i][j - 1]));
        if (i > 1
            && j > 1
            && a.charAt(i - 1) == b.charAt(j - 2)
            && a.charAt(i - 2) == b.charAt(j - 1)) {
          d[i][j] = Math.min(d[i][j], d[i - 2][j - 2] + 1);
        }
      }
    }
    return d[a.length()][b.length()];
  }
}
