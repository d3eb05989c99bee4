package dev.baton.worker.process;

/**
 * How a trainer's process ended.
 *
 * @param code its exit code; 128 + n after signal n
 * @param outOfMemoryKill whether the cgroup or the kernel recorded a kill for memory
 * @param logTail the last lines that it printed
 */
public record TrainerExit(int code, boolean outOfMemoryKill, String logTail) {}
