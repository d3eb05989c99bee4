package dev.baton.coordinator.core;

import dev.baton.v1.Hello;
import dev.baton.v1.Machine;
import java.util.Collection;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;

/** What the core knows of a worker. In memory alone: a worker says it all again in its Hello. */
final class Worker {
  /** What a worker was told to prepare. */
  enum Preparation {
    STAGE,
    RESTORE
  }

  final String id;
  final String name;
  long connectedAtMs;
  Machine machine = Machine.getDefaultInstance();
  int slots;
  long session;
  boolean connected;
  boolean draining;

  /** Somebody wants it drained; to be told again in each session until it says that it drains. */
  boolean drainWanted;

  long lastHeardNanos;
  private boolean silent;

  /** The jobs whose lease it has, by id. */
  private final Map<String, Running> held = new LinkedHashMap<>();

  private int usedCpus;
  private long usedMemory;
  private int usedGpus;

  /** What it was told to prepare, by job. */
  final Map<String, Preparation> told = new HashMap<>();

  /** What it says is prepared. */
  final Set<String> prepared = new HashSet<>();

  /** One that was not heard of yet: a lease names it. */
  Worker(String id, String name) {
    this.id = id;
    this.name = name;
  }

  /** A new session has begun. */
  void greet(Hello hello, Now now) {
    machine = hello.getMachine();
    slots = hello.getSlots();
    session = hello.getSession();
    connectedAtMs = now.epochMs();
    connected = true;
    draining = hello.getDraining();
    told.clear();
    prepared.clear();
    usedCpus = 0;
    usedMemory = 0;
    usedGpus = 0;
    held.values().forEach(running -> count(running.needs, 1));
    heard(now);
  }

  /** Its stream broke. */
  void disconnect() {
    connected = false;
    told.clear();
    prepared.clear();
  }

  /** Returns whether it had been silent. */
  boolean heard(Now now) {
    boolean was = silent;
    silent = false;
    lastHeardNanos = now.nanos();
    return was;
  }

  void fellSilent() {
    silent = true;
  }

  boolean mayTakeJobs() {
    return connected && !draining && !drainWanted && !silent;
  }

  boolean hasFreeSlot() {
    return mayTakeJobs() && held.size() < slots;
  }

  /** Whether there is room for the job now. */
  boolean fits(Requirements needs) {
    return hasFreeSlot()
        && needs.lackedBy(machine).isEmpty()
        && usedCpus + needs.cpus() <= machine.getCpus()
        && usedMemory + needs.memory() <= machine.getMemoryBytes()
        && usedGpus + needs.gpusOn(machine) <= machine.getGpusCount();
  }

  Collection<Running> heldJobs() {
    return held.values();
  }

  Set<String> heldIds() {
    return held.keySet();
  }

  boolean holds(String jobId) {
    return held.containsKey(jobId);
  }

  boolean holdsNothing() {
    return held.isEmpty();
  }

  void take(Running running) {
    if (held.put(running.job.id(), running) == null) {
      count(running.needs, 1);
    }
  }

  void dropAll() {
    held.values().forEach(running -> count(running.needs, -1));
    held.clear();
  }

  void drop(Running running) {
    if (held.remove(running.job.id()) != null) {
      count(running.needs, -1);
    }
  }

  private void count(Requirements needs, int sign) {
    usedCpus += sign * needs.cpus();
    usedMemory += sign * needs.memory();
    usedGpus += sign * needs.gpusOn(machine);
  }
}
