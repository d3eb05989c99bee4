/** What a probe, Prometheus and a machine that is to become a worker ask for over HTTP. */
@NullMarked
package dev.baton.coordinator.web;

import org.jspecify.annotations.NullMarked;
