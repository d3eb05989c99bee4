package dev.baton.coordinator.bench;

import dev.baton.rpc.Channels;
import dev.baton.v1.BuiltinModel;
import dev.baton.v1.Data;
import dev.baton.v1.JobServiceGrpc;
import dev.baton.v1.JobSpec;
import dev.baton.v1.Loss;
import dev.baton.v1.Model;
import dev.baton.v1.Optimizer;
import dev.baton.v1.Sgd;
import dev.baton.v1.Source;
import dev.baton.v1.SubmitJobRequest;
import dev.baton.v1.SubmitJobResponse;
import dev.baton.v1.Synthetic;
import dev.baton.v1.SyntheticRegression;
import dev.baton.v1.Training;
import io.grpc.ManagedChannel;
import java.util.ArrayList;
import java.util.List;
import java.util.UUID;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Executors;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;

/**
 * The measurements, one after the other: the way of a single job to an idle worker; many jobs'
 * whole cycles; heartbeats with every worker connected; submissions alone, last, because what they
 * leave behind is a long queue.
 */
final class Bench {
  private static final int CALLERS = 64;
  private static final int LEASE_SAMPLES = 200;
  private static final int WARM_UP_JOBS = 2_000;
  private static final int LIMIT_SECONDS = 60;
  private static final JobSpec SPEC =
      JobSpec.newBuilder()
          .setName("bench")
          .setModel(Model.newBuilder().setBuiltin(BuiltinModel.newBuilder().setName("linear")))
          .setData(
              Data.newBuilder()
                  .setTrain(
                      Source.newBuilder()
                          .setSynthetic(
                              Synthetic.newBuilder()
                                  .setRegression(
                                      SyntheticRegression.newBuilder().setSamples(1_000)))))
          .setTraining(
              Training.newBuilder()
                  .setEpochs(1)
                  .setBatchSize(10)
                  .setLoss(Loss.LOSS_MSE)
                  .setOptimizer(Optimizer.newBuilder().setSgd(Sgd.newBuilder().setLr(0.01))))
          .build();

  private final CoordinatorProcess coordinator;
  private final String token;
  private final int workers;
  private final int jobs;
  private final int seconds;

  Bench(CoordinatorProcess coordinator, int workers, int jobs, int seconds) throws Exception {
    this.coordinator = coordinator;
    this.token = coordinator.adminToken();
    this.workers = workers;
    this.jobs = jobs;
    this.seconds = seconds;
  }

  Measurements run() throws Exception {
    ManagedChannel channel = Channels.open(coordinator.address(), token);
    try {
      var calls = JobServiceGrpc.newStub(channel);
      cycles(calls, WARM_UP_JOBS);
      double lease = leaseP50Ms(calls);
      double cycles = cycles(calls, jobs);
      Beats beats = heartbeats();
      Submissions submissions = submissions(calls);
      return new Measurements(
          submissions.perSecond(),
          submissions.p99Ms(),
          cycles,
          beats.perSecond(),
          beats.p99Ms(),
          lease,
          beats.rssMib());
    } finally {
      channel.shutdownNow();
    }
  }

  private static SubmitJobRequest request() {
    return SubmitJobRequest.newBuilder()
        .setRequestId(UUID.randomUUID().toString())
        .setSpec(SPEC)
        .build();
  }

  private double leaseP50Ms(JobServiceGrpc.JobServiceStub calls) throws InterruptedException {
    var offers = new LinkedBlockingQueue<Long>();
    var latencies = new Latencies();
    var free = new Semaphore(0);
    try (var worker =
        new BenchWorker(
            coordinator.address(),
            token,
            job -> offers.add(System.nanoTime()),
            job -> free.release())) {
      worker.awaitWelcome();
      for (int i = 0; i < LEASE_SAMPLES; i++) {
        worker.beat();
        long sent = System.nanoTime();
        calls.submitJob(request(), new Answer<SubmitJobResponse>(answer -> {}));
        Long offered = offers.poll(LIMIT_SECONDS, TimeUnit.SECONDS);
        if (offered == null || !free.tryAcquire(LIMIT_SECONDS, TimeUnit.SECONDS)) {
          throw new IllegalStateException(
              "a job was not "
                  + (offered == null ? "offered" : "finished")
                  + " within "
                  + LIMIT_SECONDS
                  + " s");
        }
        latencies.add(offered - sent);
      }
    }
    return latencies.quantileMs(0.5);
  }

  private double cycles(JobServiceGrpc.JobServiceStub calls, int count)
      throws InterruptedException {
    var done = new CountDownLatch(count);
    List<BenchWorker> crew = new CopyOnWriteArrayList<>();
    ScheduledExecutorService pulse = Executors.newSingleThreadScheduledExecutor();
    var unused =
        pulse.scheduleWithFixedDelay(() -> crew.forEach(BenchWorker::beat), 1, 1, TimeUnit.SECONDS);
    try {
      for (int i = 0; i < CALLERS; i++) {
        crew.add(new BenchWorker(coordinator.address(), token, job -> {}, job -> done.countDown()));
      }
      for (BenchWorker worker : crew) {
        worker.awaitWelcome();
      }
      var inFlight = new Semaphore(CALLERS);
      long start = System.nanoTime();
      for (int i = 0; i < count; i++) {
        inFlight.acquire();
        calls.submitJob(request(), new Answer<SubmitJobResponse>(answer -> inFlight.release()));
      }
      if (!done.await(5, TimeUnit.MINUTES)) {
        throw new IllegalStateException(done.getCount() + " jobs were not finished in 5 minutes");
      }
      return count / ((System.nanoTime() - start) / 1e9);
    } finally {
      pulse.shutdownNow();
      crew.forEach(BenchWorker::close);
    }
  }

  private record Beats(double perSecond, double p99Ms, long rssMib) {}

  private Beats heartbeats() throws Exception {
    List<BenchWorker> crew = new ArrayList<>();
    try {
      for (int i = 0; i < workers; i++) {
        crew.add(new BenchWorker(coordinator.address(), token, job -> {}, job -> {}));
      }
      for (BenchWorker worker : crew) {
        worker.awaitWelcome();
      }
      long connected = coordinator.residentMib();
      var latencies = new Latencies();
      var running = new AtomicBoolean(true);
      long start = System.nanoTime();
      for (BenchWorker worker : crew.subList(0, Math.min(CALLERS, workers))) {
        beatAgain(worker, latencies, running);
      }
      List<BenchWorker> others = crew.subList(Math.min(CALLERS, workers), workers);
      for (int second = 0; second < seconds; second++) {
        if (second % 3 == 0) {
          others.forEach(worker -> worker.beat(() -> {}));
        }
        TimeUnit.SECONDS.sleep(1);
      }
      double perSecond = latencies.count() / ((System.nanoTime() - start) / 1e9);
      running.set(false);
      return new Beats(
          perSecond, latencies.quantileMs(0.99), Math.max(connected, coordinator.residentMib()));
    } finally {
      crew.forEach(BenchWorker::close);
    }
  }

  private static void beatAgain(BenchWorker worker, Latencies latencies, AtomicBoolean running) {
    long sent = System.nanoTime();
    worker.beat(
        () -> {
          latencies.add(System.nanoTime() - sent);
          if (running.get()) {
            beatAgain(worker, latencies, running);
          }
        });
  }

  private record Submissions(double perSecond, double p99Ms) {}

  private Submissions submissions(JobServiceGrpc.JobServiceStub calls) throws InterruptedException {
    var latencies = new Latencies();
    var ended = new CountDownLatch(CALLERS);
    long start = System.nanoTime();
    long end = start + TimeUnit.SECONDS.toNanos(seconds);
    for (int i = 0; i < CALLERS; i++) {
      submitAgain(calls, latencies, end, ended);
    }
    if (!ended.await(seconds + LIMIT_SECONDS, TimeUnit.SECONDS)) {
      throw new IllegalStateException(
          ended.getCount() + " callers had no answer within " + LIMIT_SECONDS + " s");
    }
    return new Submissions(
        latencies.count() / ((System.nanoTime() - start) / 1e9), latencies.quantileMs(0.99));
  }

  private static void submitAgain(
      JobServiceGrpc.JobServiceStub calls, Latencies latencies, long end, CountDownLatch ended) {
    long sent = System.nanoTime();
    calls.submitJob(
        request(),
        new Answer<SubmitJobResponse>(
            answer -> {
              long now = System.nanoTime();
              latencies.add(now - sent);
              if (now < end) {
                submitAgain(calls, latencies, end, ended);
              } else {
                ended.countDown();
              }
            }));
  }
}
