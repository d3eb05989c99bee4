package dev.baton.coordinator.core;

/** An object that may be downloaded. */
public record StoredObject(String objectKey, long bytes, String sha256) {}
