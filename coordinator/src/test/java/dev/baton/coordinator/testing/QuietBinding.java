package dev.baton.coordinator.testing;

import dev.baton.coordinator.core.Effect;
import dev.baton.coordinator.core.Now;
import dev.baton.coordinator.core.Scheduler;
import dev.baton.coordinator.loop.CoreLoop;
import java.util.List;

/** A loop's binding to a core that nobody listens to: nothing goes by time, effects go nowhere. */
public final class QuietBinding implements CoreLoop.Binding<Scheduler> {
  @Override
  public void start(Scheduler core, Now now) {
    core.start(now);
  }

  @Override
  public void reload(Scheduler core, Now now) {
    core.reload(now);
  }

  @Override
  public void tick(Scheduler core, Now now) {}

  @Override
  public List<Effect> takeEffects(Scheduler core) {
    return core.drainEffects();
  }

  @Override
  public void deliver(Effect effect) {}
}
