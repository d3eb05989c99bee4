@NullMarked
package dev.baton.coordinator.web;

import org.jspecify.annotations.NullMarked;
