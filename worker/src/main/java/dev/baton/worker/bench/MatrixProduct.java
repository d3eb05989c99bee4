package dev.baton.worker.bench;

import com.fasterxml.jackson.databind.ObjectMapper;
import dev.baton.worker.trainer.torch.TorchEngines;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * A process that loads libtorch and multiplies matrices in fp32, for a second on the CPU and on
 * each GPU; prints one line of JSON. A process of its own, since drivers and libraries that do not
 * fit may end it.
 */
final class MatrixProduct {
  private static final long NANOS = 1_000_000_000;
  private static final int CPU_SIZE = 1_024;
  private static final int GPU_SIZE = 8_192;
  private static final int COMPARED_SIZE = 256;

  // Elements are some 64: fp32 in any order of summing is 1e-4 off at most, TF32 more than 1e-2.
  private static final double MOST_APART = 1e-3;

  private MatrixProduct() {}

  /** What libtorch answers, and GFLOP/s by device. */
  public static void main(String[] args) throws Exception {
    TorchEngines engines = TorchEngines.load();
    int gpus = engines.hasCuda() ? (int) torch.getNumGPUs() : 0;
    List<Map<String, Object>> products = new ArrayList<>();
    products.add(measure("cpu", CPU_SIZE));
    for (int gpu = 0; gpu < gpus; gpu++) {
      Map<String, Object> product = measure("cuda:" + gpu, GPU_SIZE);
      product.put("agrees_with_cpu", apartFromCpu("cuda:" + gpu) <= MOST_APART);
      products.add(product);
    }
    Map<String, Object> answer = new LinkedHashMap<>();
    answer.put("libtorch", engines.libtorch());
    answer.put("gpus", gpus);
    answer.put("products", products);
    System.out.println(new ObjectMapper().writeValueAsString(answer));
  }

  private static Map<String, Object> measure(String name, int size) {
    try (PointerScope scope = new PointerScope()) {
      Device device = new Device(name);
      Tensor a = torch.rand(size, size).to(device, ScalarType.Float);
      Tensor b = torch.rand(size, size).to(device, ScalarType.Float);
      multiply(a, b); // loads the kernels
      long start = System.nanoTime();
      long end = start;
      int products = 0;
      while (end - start < NANOS) {
        multiply(a, b);
        products++;
        end = System.nanoTime();
      }
      double flop = 2.0 * size * size * size * products;
      Map<String, Object> answer = new LinkedHashMap<>();
      answer.put("device", name);
      answer.put("gflops", Math.round(flop / (end - start) * 10) / 10.0);
      return answer;
    }
  }

  /** The most by which an element of a small product differs from the CPU's. */
  private static double apartFromCpu(String name) {
    try (PointerScope scope = new PointerScope()) {
      Tensor a = torch.rand(COMPARED_SIZE, COMPARED_SIZE);
      Tensor b = torch.rand(COMPARED_SIZE, COMPARED_SIZE);
      Device device = new Device(name);
      Tensor there = a.to(device, ScalarType.Float).matmul(b.to(device, ScalarType.Float));
      Tensor back = there.to(new Device("cpu"), ScalarType.Float);
      return back.sub(a.matmul(b)).abs().max().item_double();
    }
  }

  private static void multiply(Tensor a, Tensor b) {
    try (PointerScope scope = new PointerScope();
        Tensor product = a.matmul(b)) {
      product.select(0, 0).select(0, 0).item_float(); // waits for the GPU
    }
  }
}
