package dev.baton.coordinator.bench;

/**
 * What was measured.
 *
 * @param submitsPerSecond durable submissions, 64 callers
 * @param jobsPerSecond submitted, leased, begun and finished
 * @param heartbeatsPerSecond 64 of the workers in a closed loop, the others each 3 s
 * @param leaseP50Ms from the sending of a submission to the offer at an idle worker
 * @param rssMib the coordinator's resident memory, with every worker connected
 */
record Measurements(
    double submitsPerSecond,
    double submitP99Ms,
    double jobsPerSecond,
    double heartbeatsPerSecond,
    double heartbeatP99Ms,
    double leaseP50Ms,
    long rssMib) {}
