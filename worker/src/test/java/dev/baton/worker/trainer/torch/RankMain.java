package dev.baton.worker.trainer.torch;

import dev.baton.worker.data.Replica;
import dev.baton.worker.trainer.GroupBrokenException;
import dev.baton.worker.trainer.Membership;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.LongVector;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.DeviceType;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.jspecify.annotations.Nullable;

/**
 * A process of a group, for tests: does what it reads, one order a line, and answers each with one
 * line that begins with "= ", or with "! " where the group broke. Ends with its input.
 */
public final class RankMain {
  private final List<ReplicaGroup> groups = new ArrayList<>();
  private final TorchEngines engines = TorchEngines.load();
  private @Nullable ReplicaJob job;

  private RankMain() {}

  public static void main(String[] args) throws Exception {
    RankMain main = new RankMain();
    answer("= ready");
    BufferedReader orders =
        new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    String order;
    while ((order = orders.readLine()) != null) {
      try {
        answer("= " + main.execute(order.split(" ")));
      } catch (GroupBrokenException e) {
        answer("! " + e.getMessage());
      } catch (RuntimeException e) {
        e.printStackTrace();
        answer("? " + e);
      }
    }
    Runtime.getRuntime().halt(0);
  }

  static synchronized void answer(String line) {
    System.out.println(line);
    System.out.flush();
  }

  private String execute(String[] order) throws InterruptedException {
    return switch (order[0]) {
      case "job" -> {
        if (job != null) {
          job.close();
        }
        job = new ReplicaJob(engines, order[1]);
        yield "made";
      }
      case "join" ->
          Long.toString(
              job()
                  .join(
                      membership(order),
                      order[6].equals("stateless"),
                      port -> answer("listening " + port)));
      case "train" -> {
        job().train(Long.parseLong(order[1]));
        yield Long.toString(job().step());
      }
      case "losses" -> Arrays.toString(job().train(Long.parseLong(order[1])));
      case "step" -> Long.toString(job().step());
      case "evaluate" -> job().evaluate();
      case "report" -> job().report();
      case "save" -> {
        job().save();
        yield "saved";
      }
      case "restore" -> {
        job().restore();
        yield "restored";
      }
      case "form" -> form(order);
      case "collectives" -> collectives();
      case "forever" -> forever();
      case "abort-soon" -> abortSoon();
      case "close" -> {
        group().close();
        yield "closed";
      }
      default -> throw new IllegalArgumentException(order[0]);
    };
  }

  private ReplicaJob job() {
    return Objects.requireNonNull(job);
  }

  private ReplicaGroup group() {
    return groups.get(groups.size() - 1);
  }

  /** host, port or first-last port, rank, size, time-out in milliseconds. */
  static Membership membership(String[] order) {
    String[] ports = order[2].split("-", -1);
    Duration timeout = Duration.ofMillis(Long.parseLong(order[5]));
    return new Membership(
        order[1],
        Integer.parseInt(ports[0]),
        Integer.parseInt(ports[ports.length - 1]),
        new Replica(Integer.parseInt(order[3]), Integer.parseInt(order[4])),
        "127.0.0.1",
        Membership.Backend.GLOO,
        timeout,
        timeout);
  }

  private String form(String[] order) {
    try (PointerScope scope = new PointerScope()) {
      Device cpu = new Device(DeviceType.CPU);
      groups.add(ReplicaGroup.form(membership(order), cpu, port -> answer("listening " + port)));
    }
    return "formed";
  }

  /** Each collective once; what this rank received. */
  private String collectives() {
    try (PointerScope scope = new PointerScope();
        NoGradGuard none = new NoGradGuard()) {
      ReplicaGroup group = group();
      int size = group.size();
      int rank = group.rank();
      StringBuilder seen = new StringBuilder();
      Tensor mine = group.wire(2L * size, ScalarType.Float);
      for (int i = 0; i < 2 * size; i++) {
        mine.select(0, i).fill_(new Scalar(100.0 * rank + i));
      }
      Tensor all = group.wire(2L * size, ScalarType.Float);
      long[] two = new long[size];
      Arrays.fill(two, 2);
      group.allToAll(all, mine, new LongVector(two), new LongVector(two)).await();
      seen.append("a2a").append(numbers(all));
      // Only even ranks send.
      int sent = rank % 2 == 0 ? 1 : 0;
      long[] from = new long[size];
      long[] to = new long[size];
      int total = 0;
      for (int i = 0; i < size; i++) {
        from[i] = i % 2 == 0 ? 1 : 0;
        to[i] = sent;
        total += (int) from[i];
      }
      Tensor some = group.wire(total, ScalarType.Float);
      Tensor in = mine.narrow(0, 0, (long) sent * size);
      group.allToAll(some, in, new LongVector(from), new LongVector(to)).await();
      seen.append(" split").append(numbers(some));
      Tensor gathered = group.wire(size, ScalarType.Float);
      group.allGather(gathered, mine.narrow(0, 0, 1)).await();
      seen.append(" all").append(numbers(gathered));
      group.broadcast(mine, size - 1).await();
      seen.append(" root").append(numbers(mine.narrow(0, 0, 1)));
      Tensor sum = group.wire(1, ScalarType.Float).fill_(new Scalar(rank + 1.0));
      group.allReduce(sum).await();
      seen.append(" sum").append(numbers(sum));
      group.barrier();
      return seen.toString();
    }
  }

  private static String numbers(Tensor tensor) {
    List<Integer> numbers = new ArrayList<>();
    for (int i = 0; i < tensor.numel(); i++) {
      numbers.add((int) tensor.select(0, i).item_double());
    }
    return numbers.toString().replace(" ", "");
  }

  /** Exchanges until the group breaks, and closes it, so that the others notice too. */
  private String forever() {
    answer("exchanging");
    try (ReplicaGroup group = group();
        PointerScope scope = new PointerScope()) {
      Tensor in = group.wire(1 << 20, ScalarType.Float);
      Tensor out = group.wire((long) group.size() << 20, ScalarType.Float);
      while (true) {
        try (PointerScope round = new PointerScope()) {
          group.allGather(out, in).await();
        }
      }
    }
  }

  private String abortSoon() {
    ReplicaGroup group = group();
    Thread thread =
        new Thread(
            () -> {
              try {
                Thread.sleep(300);
              } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
              }
              group.abort();
            });
    thread.start();
    return "soon";
  }
}
