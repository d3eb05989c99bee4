package dev.baton.client.command;

import dev.baton.client.connection.Connector;
import dev.baton.client.connection.Time;
import dev.baton.client.output.Terminal;
import dev.baton.transfer.ObjectTransfer;
import java.io.InputStream;
import java.util.Map;
import java.util.function.Supplier;

/**
 * What surrounds a command.
 *
 * @param environment the process's variables
 * @param transfers made when first needed
 */
public record Shell(
    Terminal terminal,
    InputStream in,
    Map<String, String> environment,
    Connector connector,
    Supplier<ObjectTransfer> transfers,
    Time time) {}
