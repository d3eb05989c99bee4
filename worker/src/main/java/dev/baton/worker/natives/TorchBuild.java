package dev.baton.worker.natives;

import java.util.List;
import java.util.Optional;

/** What a libtorch was built for, with what that asks of a machine with a GPU. */
public enum TorchBuild {
  CPU("cpu", 0, 0, ""),
  CU12("cu12", 12, 525, "6.0"),
  CU13("cu13", 13, 580, "7.5");

  /** A requirement of pip's, and the libraries that it brings. */
  private record Pin(String libraries, String requirement) {}

  /** As PyTorch 2.8 for CUDA 12.9 pins them. */
  private static final List<Pin> PINS_12 =
      List.of(
          new Pin("libcudart.so", "nvidia-cuda-runtime-cu12==12.9.79"),
          new Pin("libcupti.so", "nvidia-cuda-cupti-cu12==12.9.79"),
          new Pin("libcublas", "nvidia-cublas-cu12==12.9.1.4"),
          new Pin("libcudnn", "nvidia-cudnn-cu12==9.10.2.21"),
          new Pin("libcufft.so", "nvidia-cufft-cu12==11.4.1.4"),
          new Pin("libcurand.so", "nvidia-curand-cu12==10.3.10.19"),
          new Pin("libcusolver.so", "nvidia-cusolver-cu12==11.7.5.82"),
          new Pin("libcusparse.so", "nvidia-cusparse-cu12==12.5.10.65"),
          new Pin("libcufile.so", "nvidia-cufile-cu12==1.14.1.1"),
          new Pin("libnccl.so", "nvidia-nccl-cu12==2.27.3"),
          new Pin("libnvJitLink.so", "nvidia-nvjitlink-cu12==12.9.86"),
          new Pin("libnvrtc.so", "nvidia-cuda-nvrtc-cu12==12.9.86"));

  /** As PyTorch 2.10 and 2.11 for CUDA 13 pin them. */
  private static final List<Pin> PINS_13 =
      List.of(
          new Pin("libcudart.so", "nvidia-cuda-runtime==13.0.96"),
          new Pin("libcupti.so", "nvidia-cuda-cupti==13.0.85"),
          new Pin("libcublas", "nvidia-cublas==13.1.0.3"),
          new Pin("libcudnn", "nvidia-cudnn-cu13==9.19.0.56"),
          new Pin("libcufft.so", "nvidia-cufft==12.0.0.61"),
          new Pin("libcurand.so", "nvidia-curand==10.4.0.35"),
          new Pin("libcusolver.so", "nvidia-cusolver==12.0.4.66"),
          new Pin("libcusparse.so", "nvidia-cusparse==12.6.3.3"),
          new Pin("libcufile.so", "nvidia-cufile==1.15.1.6"),
          new Pin("libnccl.so", "nvidia-nccl-cu13==2.28.9"),
          new Pin("libnvJitLink.so", "nvidia-nvjitlink==13.0.88"),
          new Pin("libnvrtc.so", "nvidia-cuda-nvrtc==13.0.88"));

  private final String label;
  private final int cudaMajor;
  private final int leastDriver;
  private final String leastCapability;

  TorchBuild(String label, int cudaMajor, int leastDriver, String leastCapability) {
    this.label = label;
    this.cudaMajor = cudaMajor;
    this.leastDriver = leastDriver;
    this.leastCapability = leastCapability;
  }

  /** The build that needs this CUDA runtime; the CPU's where it needs none. */
  static Optional<TorchBuild> needing(List<String> libraries) {
    for (TorchBuild build : List.of(CU12, CU13)) {
      if (libraries.contains("libcudart.so." + build.cudaMajor)) {
        return Optional.of(build);
      }
    }
    boolean other = libraries.stream().anyMatch(name -> name.startsWith("libcudart.so"));
    return other ? Optional.empty() : Optional.of(CPU);
  }

  /** {@code cpu}, {@code cu12} or {@code cu13}, as in the archives' names. */
  public String label() {
    return label;
  }

  /** What it was built for, in a sentence. */
  public String text() {
    return this == CPU ? "CPUs" : "CUDA " + cudaMajor;
  }

  /** CUDA's major version; 0 for none. */
  public int cudaMajor() {
    return cudaMajor;
  }

  /** The oldest branch of the driver that runs it. */
  public int leastDriver() {
    return leastDriver;
  }

  /** The lowest compute capability that it holds code for: 7.5. */
  public String leastCapability() {
    return leastCapability;
  }

  /** What to ask pip for, where this library is missing. */
  Optional<String> requirement(String library) {
    List<Pin> pins =
        switch (this) {
          case CPU -> List.of();
          case CU12 -> PINS_12;
          case CU13 -> PINS_13;
        };
    return pins.stream()
        .filter(pin -> library.startsWith(pin.libraries))
        .map(Pin::requirement)
        .findFirst();
  }
}
