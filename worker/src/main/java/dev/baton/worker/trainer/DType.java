package dev.baton.worker.trainer;

/** An element type, with its safetensors name and its size in bytes. */
public enum DType {
  FLOAT32("F32", 4),
  FLOAT64("F64", 8),
  INT64("I64", 8),
  UINT8("U8", 1);

  private final String safetensorsName;
  private final int bytes;

  DType(String safetensorsName, int bytes) {
    this.safetensorsName = safetensorsName;
    this.bytes = bytes;
  }

  /** As the safetensors header writes it. */
  public String safetensorsName() {
    return safetensorsName;
  }

  /** Of one element. */
  public int bytes() {
    return bytes;
  }
}
