package dev.baton.coordinator.core;

/** What the core keeps on disk, all of it under one transaction at a time. */
public record Stores(JobStore jobs, UploadStore uploads, DatasetStore datasets, LogStore logs) {}
