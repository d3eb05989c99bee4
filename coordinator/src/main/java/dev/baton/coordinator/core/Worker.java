package dev.baton.coordinator.core;

import dev.baton.v1.Heartbeat;
import dev.baton.v1.Hello;
import dev.baton.v1.Machine;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/** What the core knows of a worker. In memory alone: a worker says it all again in its Hello. */
final class Worker {
  /** What a worker was told to prepare. */
  enum Preparation {
    STAGE,
    RESTORE,
    JOIN
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

  /** Where replicas on other machines reach those on this one; empty: not at all. */
  String advertiseHost = "";

  /** Where it answers probes. */
  int probePort;

  /** Equal for workers that share their loopback interface; empty: not known. */
  String hostId = "";

  /** Whether it takes a replica of a gang of two or more. */
  boolean takesReplicas;

  /** A job under a lease, and how many of its replicas run here. */
  private static final class Holding {
    final Running running;
    int replicas;

    Holding(Running running) {
      this.running = running;
    }
  }

  /** What it holds, by job. */
  private final Map<String, Holding> held = new LinkedHashMap<>();

  private int usedSlots;
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
    advertiseHost = hello.getAdvertiseHost();
    probePort = hello.getProbePort();
    hostId = hello.getHostId();
    takesReplicas = hello.getReplicas();
    told.clear();
    prepared.clear();
    usedSlots = 0;
    usedCpus = 0;
    usedMemory = 0;
    usedGpus = 0;
    held.values().forEach(holding -> count(holding.running.needs, holding.replicas));
    heard(now);
  }

  /** Its stream broke. */
  void disconnect() {
    connected = false;
    told.clear();
    prepared.clear();
  }

  /** Takes what it has found out about its libtorch; returns whether that is new. */
  boolean learn(Heartbeat heartbeat) {
    boolean more = heartbeat.getReplicas() && !takesReplicas;
    takesReplicas |= more;
    String libtorch = heartbeat.getLibtorch();
    if (!libtorch.isEmpty() && !libtorch.equals(machine.getLibtorch())) {
      machine = machine.toBuilder().setLibtorch(libtorch).build();
      more = true;
    }
    return more;
  }

  /** Returns whether it had been silent. */
  boolean heard(Now now) {
    boolean was = silent;
    silent = false;
    lastHeardNanos = now.nanos();
    return was;
  }

  /** Whether it is there, and has said something since. */
  boolean heardSince(long nanos) {
    return connected && lastHeardNanos >= nanos;
  }

  void fellSilent() {
    silent = true;
  }

  boolean mayTakeJobs() {
    return connected && !draining && !drainWanted && !silent;
  }

  boolean hasFreeSlot() {
    return mayTakeJobs() && usedSlots < slots;
  }

  /**
   * How many replicas of a job there is room for now.
   *
   * @param set aside for another; null: nothing
   */
  int room(Requirements needs, @Nullable Reservation set) {
    int aside = set == null ? 0 : set.on(id);
    int cpus = machine.getCpus() - usedCpus;
    long memory = machine.getMemoryBytes() - usedMemory;
    int gpus = machine.getGpusCount() - usedGpus;
    if (set != null && aside > 0) {
      cpus -= aside * set.needs().cpus();
      memory -= aside * set.needs().memory();
      gpus -= aside * set.needs().gpusOn(machine);
    }
    return room(needs, slots - usedSlots - aside, cpus, memory, gpus);
  }

  /** How many replicas of a job there would be room for if it held nothing. */
  int idleRoom(Requirements needs) {
    return room(needs, slots, machine.getCpus(), machine.getMemoryBytes(), machine.getGpusCount());
  }

  private int room(Requirements needs, int slots, int cpus, long memory, int gpus) {
    if (!mayTakeJobs() || needs.lackedBy(machine).isPresent()) {
      return 0;
    }
    int room = slots;
    if (needs.cpus() > 0) {
      room = Math.min(room, cpus / needs.cpus());
    }
    if (needs.memory() > 0) {
      room = (int) Math.min(room, memory / needs.memory());
    }
    int gpusEach = needs.gpusOn(machine);
    if (gpusEach > 0) {
      room = Math.min(room, gpus / gpusEach);
    }
    return Math.max(0, room);
  }

  /** A snapshot. */
  List<Running> heldJobs() {
    return held.values().stream().map(holding -> holding.running).toList();
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

  /** Runs one replica more of a job. */
  void take(Running running) {
    held.computeIfAbsent(running.job.id(), id -> new Holding(running)).replicas++;
    count(running.needs, 1);
  }

  void dropAll() {
    held.values().forEach(holding -> count(holding.running.needs, -holding.replicas));
    held.clear();
  }

  /** Runs no replica of a job any more. */
  void drop(Running running) {
    Holding holding = held.remove(running.job.id());
    if (holding != null) {
      count(running.needs, -holding.replicas);
    }
  }

  private void count(Requirements needs, int replicas) {
    usedSlots += replicas;
    usedCpus += replicas * needs.cpus();
    usedMemory += replicas * needs.memory();
    usedGpus += replicas * needs.gpusOn(machine);
  }
}
