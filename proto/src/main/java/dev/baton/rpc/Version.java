package dev.baton.rpc;

import org.jspecify.annotations.Nullable;

/** The release that a program is of: the one that the build wrote into its jars. */
public final class Version {
  /** 0.1.0, say. */
  public static final String OF_THIS = of(Version.class.getPackage().getImplementationVersion());

  private Version() {}

  private static String of(@Nullable String version) {
    return version == null ? "(unpackaged)" : version;
  }
}
