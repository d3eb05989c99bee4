package dev.baton.client.command;

import picocli.CommandLine.IVersionProvider;

/** The version that the build wrote into the jar. */
final class Version implements IVersionProvider {
  @Override
  public String[] getVersion() {
    return new String[] {"baton " + dev.baton.rpc.Version.OF_THIS};
  }
}
