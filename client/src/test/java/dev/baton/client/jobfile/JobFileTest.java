package dev.baton.client.jobfile;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.google.protobuf.Descriptors.Descriptor;
import com.google.protobuf.Descriptors.FieldDescriptor;
import dev.baton.v1.JobSpec;
import dev.baton.v1.Loss;
import dev.baton.v1.Precision;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.List;
import java.util.Random;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;

class JobFileTest {
  private static final String CIFAR =
      """
      name: cifar-lenet
      model:      {builtin: {name: lenet, num_classes: 10}}
      data:
        train:    {dataset: cifar10, split: train, shuffle: true, drop_last: false}
        eval:     {dataset: cifar10, split: test}
        transforms: [{normalize: {mean: [0.5, 0.5, 0.5], std: 0.5}}]
      training:
        epochs: 2
        batch_size: 4
        optimizer: {sgd: {lr: 1e-3, momentum: .9, weight_decay: 0}}
        loss: cross_entropy
        seed: -9223372036854775808
        exact: true
        precision: fp32
      resources:  {gpus: 0, cpus: 1, memory: 2Gi}
      checkpoint: {interval: 1m30s, keep: 3}
      """;

  private static JobSpec read(String text, String... settings) throws JobFileException {
    return JobFile.read("job.yaml", text.getBytes(StandardCharsets.UTF_8), List.of(settings));
  }

  static List<Path> examples() throws IOException {
    try (Stream<Path> files = Files.list(Path.of("..", "deploy", "examples"))) {
      return files.sorted().toList();
    }
  }

  @Test
  void everyKindOfValue() throws JobFileException {
    JobSpec spec = read(CIFAR);
    assertThat(spec.getName()).isEqualTo("cifar-lenet");
    assertThat(spec.getModel().getBuiltin().getNumClasses()).isEqualTo(10);
    assertThat(spec.getData().getTrain().getShuffle()).isTrue();
    assertThat(spec.getData().getTrain().hasDropLast()).isTrue();
    assertThat(spec.getData().getEval().hasShuffle()).isFalse();
    assertThat(spec.getData().getTransforms(0).getNormalize().getMeanList())
        .containsExactly(0.5, 0.5, 0.5);
    assertThat(spec.getData().getTransforms(0).getNormalize().getStdList()).containsExactly(0.5);
    assertThat(spec.getTraining().getOptimizer().getSgd().getLr()).isEqualTo(0.001);
    assertThat(spec.getTraining().getOptimizer().getSgd().getMomentum()).isEqualTo(0.9);
    assertThat(spec.getTraining().getLoss()).isEqualTo(Loss.LOSS_CROSS_ENTROPY);
    assertThat(spec.getTraining().getPrecision()).isEqualTo(Precision.PRECISION_FP32);
    assertThat(spec.getTraining().getSeed()).isEqualTo(Long.MIN_VALUE);
    assertThat(spec.getResources().hasGpus()).isTrue();
    assertThat(spec.getResources().getMemory()).isEqualTo(2L << 30);
    assertThat(spec.getCheckpoint().getInterval().getSeconds()).isEqualTo(90);
  }

  @ParameterizedTest
  @MethodSource("examples")
  void examplesAreReadAndNamedAsTheirFiles(Path file) throws IOException, JobFileException {
    JobSpec spec = JobFile.read(file.toString(), Files.readAllBytes(file), List.of());
    assertThat(file.getFileName()).hasToString(spec.getName() + ".yaml");
    assertThat(spec.getTraining().getBatchSize()).isPositive();
    assertThat(spec.getModel().hasBuiltin()).isTrue();
  }

  @Test
  void thereAreExamples() throws IOException {
    assertThat(examples()).hasSizeGreaterThanOrEqualTo(4);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      textBlock =
          """
          training: {epoch: 3} | 1: training.epoch: unknown key; did you mean epochs?
          training: {batchsize: 3} | 1: training.batchsize: unknown key; did you mean batch_size?
          traning: {epochs: 3} | 1: traning: unknown key; did you mean training?
          zzzz: 1 | 1: zzzz: unknown key; known here: name, model, data, training, replicas, resources, checkpoint, retries
          training: {epochs: three} | 1: training.epochs: expected a whole number; found three
          training: {epochs: 1.5} | 1: training.epochs: expected a whole number; found 1.5
          training: {epochs: 1e3} | 1: training.epochs: expected a whole number; found 1e3
          training: {epochs: 010} | 1: training.epochs: expected a whole number; found 010
          training: {epochs: "3"} | 1: training.epochs: expected a whole number; found the quoted text "3"; leave out the quotes
          training: {epochs: 2147483648} | 1: training.epochs: expected a whole number from -2147483648 to 2147483647; found 2147483648
          training: {seed: 9223372036854775808} | 1: training.seed: expected a whole number from -9223372036854775808 to 9223372036854775807; found 9223372036854775808
          training: {epochs: [3]} | 1: training.epochs: expected a whole number; found a list
          training: {epochs: {a: 3}} | 1: training.epochs: expected a whole number; found a mapping
          training: {epochs: } | 1: training.epochs: has no value; write one, as in 1, or leave the key out
          training: {epochs: null} | 1: training.epochs: has no value; write one, as in 1, or leave the key out
          training: {exact: yes} | 1: training.exact: expected true or false; found yes
          training: {exact: "true"} | 1: training.exact: expected true or false; found the quoted text "true"; leave out the quotes
          training: {loss: cross-entropy} | 1: training.loss: unknown value cross-entropy; did you mean cross_entropy?
          training: {loss: LOSS_MSE} | 1: training.loss: unknown value LOSS_MSE; known here: cross_entropy, mse
          training: {loss: unspecified} | 1: training.loss: unknown value unspecified; known here: cross_entropy, mse
          training: {optimizer: adam} | 1: training.optimizer: expected a mapping with one of sgd, adam, adamw; found adam
          training: {optimizer: {adam: }} | 1: training.optimizer.adam: has no value; write {} for its defaults, or leave the key out
          training: {optimizer: {sgd: {lr: 1}, adam: {}}} | 1: training.optimizer: sgd and adam exclude each other; give one of sgd, adam, adamw
          training: {optimizer: {sgd: {lr: .nan}}} | 1: training.optimizer.sgd.lr: expected a number; found .nan
          training: {optimizer: {sgd: {lr: 1e999}}} | 1: training.optimizer.sgd.lr: expected a number that 64 bits can hold; found 1e999
          training: {optimizer: {adam: {betas: [0.9, x]}}} | 1: training.optimizer.adam.betas[1]: expected a number; found x
          data: {transforms: {normalize: {}}} | 1: data.transforms: expected a list, as in [{normalize: ...}]; found a mapping
          data: {train: {synthetic: 3, dataset: x}} | 1: data.train.synthetic: expected a mapping with one of regression; found 3
          resources: {memory: 2GB} | 1: resources.memory: expected an amount of memory, as in 512Mi or 2Gi; found 2GB
          resources: {memory: -1} | 1: resources.memory: expected an amount of memory, as in 512Mi or 2Gi; found -1
          resources: {memory: 99999999Pi} | 1: resources.memory: expected an amount of memory, as in 512Mi or 2Gi; found 99999999Pi
          checkpoint: {interval: 30} | 1: checkpoint.interval: expected a duration with its unit, as in 30s, 10m or 1h; found 30
          checkpoint: {interval: soon} | 1: checkpoint.interval: expected a duration with its unit, as in 30s, 10m or 1h; found soon
          {name: a, name: b} | 1: the key name stands here twice, first in line 1
          name: &a x | OK
          {name: &a x, model: *a} | 1: aliases (*name) are not read here; write the value out
          name: !!int 3 | 1: tags (!name) are not read here; leave it out
          {[a]: 3} | 1: a key cannot be a list
          just text | expected keys with values, as in name: my-job; found just text
          [a, b] | expected keys with values, as in name: my-job; found a list
          """)
  void badValues(String text, String expected) throws JobFileException {
    if (expected.equals("OK")) {
      assertThat(read(text).getName()).isEqualTo("x");
      return;
    }
    assertThatThrownBy(() -> read(text))
        .isInstanceOf(JobFileException.class)
        .hasMessage("job.yaml:" + (Character.isDigit(expected.charAt(0)) ? "" : " ") + expected);
  }

  @Test
  void errorsNameTheLineOfTheValue() {
    assertThatThrownBy(() -> read(CIFAR.replace("batch_size: 4", "batch_size: four")))
        .hasMessage("job.yaml:9: training.batch_size: expected a whole number; found four");
    assertThatThrownBy(() -> read(CIFAR + "name: again\n"))
        .hasMessage("job.yaml:17: the key name stands here twice, first in line 1");
  }

  @Test
  void whatIsNoYaml() {
    assertThatThrownBy(() -> read("name: a\n\tmodel: b\n"))
        .isInstanceOf(JobFileException.class)
        .hasMessageStartingWith("job.yaml:2: not YAML: ")
        .hasMessageNotContaining("\n");
    assertThatThrownBy(() -> read("name: [a")).hasMessageStartingWith("job.yaml:1: not YAML: ");
    assertThatThrownBy(() -> read("name: a\n---\nname: b\n"))
        .hasMessage("job.yaml:2: a second document begins here; one file, one document");
    assertThatThrownBy(() -> read("")).hasMessageStartingWith("job.yaml: is empty; expected keys");
    assertThatThrownBy(() -> read("# nothing\n")).hasMessageStartingWith("job.yaml: is empty");
    assertThatThrownBy(() -> read("name: a\nmodel: \u0007\n"))
        .hasMessage("job.yaml:2: the character U+0007 does not belong in YAML");
    assertThatThrownBy(() -> JobFile.read("job.yaml", new byte[] {'a', (byte) 0xff}, List.of()))
        .hasMessage("job.yaml: is not UTF-8 text");
    assertThatThrownBy(() -> JobFile.read("job.yaml", new byte[(1 << 20) + 1], List.of()))
        .hasMessage("job.yaml: 1048577 bytes; expected at most 1 MiB");
  }

  @Test
  void deepNestingAndAliasBombsEndInOneLine() {
    assertThatThrownBy(() -> read("name: " + "[".repeat(30_000)))
        .isInstanceOf(JobFileException.class)
        .hasMessageContaining("nested more than 32 levels deep");
    String bomb =
        "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: [*b,*b,*b,*b,*b,*b]\n";
    assertThatThrownBy(() -> read(bomb)).hasMessageContaining("aliases");
  }

  @Test
  void settingsReplaceAndAdd() throws JobFileException {
    JobSpec spec =
        read(
            CIFAR,
            "training.epochs=3",
            "training.epochs=4",
            "training.max_steps=100",
            "training.optimizer={adam: {lr: 0.1}}",
            "retries.backoff=5s",
            "data.transforms=[]",
            "name=other=name");
    assertThat(spec.getTraining().getEpochs()).isEqualTo(4);
    assertThat(spec.getTraining().getMaxSteps()).isEqualTo(100);
    assertThat(spec.getTraining().getBatchSize()).isEqualTo(4);
    assertThat(spec.getTraining().getOptimizer().getAdam().getLr()).isEqualTo(0.1);
    assertThat(spec.getRetries().getBackoff().getSeconds()).isEqualTo(5);
    assertThat(spec.getData().getTransformsList()).isEmpty();
    assertThat(spec.getName()).isEqualTo("other=name");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      textBlock =
          """
          training.epoch=3 | --set training.epoch: training.epoch: unknown key; did you mean epochs?
          training.epochs=x | --set training.epochs: training.epochs: expected a whole number; found x
          training.epochs= | --set training.epochs: training.epochs: has no value; write one, as in 1, or leave the key out
          training.epochs | --set training.epochs: expected KEY.KEY=VALUE, as in training.epochs=3
          =3 | --set : expected KEY.KEY=VALUE, as in training.epochs=3
          training..epochs=3 | --set training..epochs: an empty key; expected KEY.KEY=VALUE
          name.x=3 | --set name.x: name is cifar-lenet, not a mapping; set it as a whole: name=VALUE
          training.epochs=[ | --set training.epochs: not YAML: expected the node content, but found '<stream end>'
          """)
  void badSettings(String setting, String expected) {
    assertThatThrownBy(() -> read(CIFAR, setting))
        .isInstanceOf(JobFileException.class)
        .hasMessage(expected);
  }

  @Test
  void theSchemaHoldsNothingThatTheReaderCannotRead() {
    Set<Descriptor> seen = new HashSet<>();
    walk(JobSpec.getDescriptor(), seen);
    assertThat(seen).hasSizeGreaterThan(15);
  }

  private static void walk(Descriptor type, Set<Descriptor> seen) {
    if (!seen.add(type)) {
      return;
    }
    for (FieldDescriptor field : type.getFields()) {
      assertThat(field.isMapField()).as(field.getFullName()).isFalse();
      assertThat(field.getJavaType())
          .as(field.getFullName())
          .isNotEqualTo(FieldDescriptor.JavaType.BYTE_STRING);
      if (field.getJavaType() == FieldDescriptor.JavaType.MESSAGE
          && !field.getMessageType().getFullName().startsWith("google.protobuf.")) {
        walk(field.getMessageType(), seen);
      }
    }
  }

  @Test
  void mutatedFilesEndInAJobFileExceptionOrASpec() throws IOException {
    List<byte[]> seeds =
        Stream.concat(
                examples().stream().map(JobFileTest::bytes),
                Stream.of(CIFAR.getBytes(StandardCharsets.UTF_8)))
            .toList();
    Random random = new Random(20260101);
    int refused = 0;
    for (int i = 0; i < 10_000; i++) {
      byte[] mutant = mutate(seeds.get(i % seeds.size()), random);
      List<String> settings =
          random.nextInt(4) == 0
              ? List.of(
                  new String(
                      mutate("training.epochs=3".getBytes(StandardCharsets.UTF_8), random),
                      StandardCharsets.ISO_8859_1))
              : List.of();
      try {
        JobFile.read("fuzz", mutant, settings);
      } catch (JobFileException e) {
        refused++;
        assertThat(e.getMessage()).as("mutant %d", i).doesNotContain("\n").hasSizeLessThan(600);
      } catch (RuntimeException | StackOverflowError e) {
        throw new AssertionError(
            "mutant " + i + ":\n" + new String(mutant, StandardCharsets.ISO_8859_1), e);
      }
    }
    assertThat(refused).isBetween(3_000, 9_900);
  }

  private static byte[] bytes(Path file) {
    try {
      return Files.readAllBytes(file);
    } catch (IOException e) {
      throw new java.io.UncheckedIOException(e);
    }
  }

  private static final String[] TOKENS = {
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "&a",
    "*a",
    "!!int ",
    "|",
    ">",
    "\n",
    "\t",
    " ",
    "-",
    "---\n",
    "null",
    "~",
    "'",
    "\"",
    "%YAML 9.9\n",
    "\u0000",
    "\u00e9",
    "\ud83d\ude00",
    "? ",
    "<<: ",
    "99999999999999999999",
    "-1",
    "1e400",
    "true",
    "#",
    "@",
    "`",
    "optimizer",
    "adam"
  };

  private static byte[] mutate(byte[] seed, Random random) {
    StringBuilder text = new StringBuilder(new String(seed, StandardCharsets.UTF_8));
    for (int n = 1 + random.nextInt(3); n > 0; n--) {
      int at = random.nextInt(text.length() + 1);
      int end = Math.min(text.length(), at + random.nextInt(12));
      switch (random.nextInt(5)) {
        case 0 -> text.delete(at, end);
        case 1 -> text.insert(at, TOKENS[random.nextInt(TOKENS.length)]);
        case 2 -> text.replace(at, end, TOKENS[random.nextInt(TOKENS.length)]);
        case 3 -> text.insert(at, text.substring(at, end));
        default -> text.insert(at, (char) random.nextInt(0x250));
      }
    }
    byte[] bytes = text.toString().getBytes(StandardCharsets.UTF_8);
    if (random.nextInt(10) == 0 && bytes.length > 0) {
      bytes[random.nextInt(bytes.length)] = (byte) random.nextInt();
    }
    return bytes;
  }
}
