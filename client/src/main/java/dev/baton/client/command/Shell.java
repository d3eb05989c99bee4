package dev.baton.client.command;

import dev.baton.client.connection.Connector;
import dev.baton.client.connection.Settings;
import dev.baton.client.connection.Time;
import dev.baton.client.output.Terminal;
import dev.baton.doctor.HttpProbe;
import dev.baton.transfer.ObjectTransfer;
import java.io.InputStream;
import java.util.Map;
import java.util.function.Function;

/**
 * What surrounds a command.
 *
 * @param environment the process's variables
 * @param transfers makes what moves objects, once it is known where the coordinator is
 * @param probes makes what tries URLs, likewise
 */
public record Shell(
    Terminal terminal,
    InputStream in,
    Map<String, String> environment,
    Connector connector,
    Function<Settings, ObjectTransfer> transfers,
    Function<Settings, HttpProbe> probes,
    Time time) {}
