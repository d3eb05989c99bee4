/** What a browser, a probe and Prometheus ask for over HTTP. */
@NullMarked
package dev.baton.coordinator.web;

import org.jspecify.annotations.NullMarked;
