package dev.baton.coordinator;

import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;
import static com.tngtech.archunit.library.dependencies.SlicesRuleDefinition.slices;

import com.tngtech.archunit.core.importer.ImportOption.DoNotIncludeTests;
import com.tngtech.archunit.junit.AnalyzeClasses;
import com.tngtech.archunit.junit.ArchTest;
import com.tngtech.archunit.lang.ArchRule;
import java.time.Clock;
import java.time.Instant;

@AnalyzeClasses(packages = "dev.baton.coordinator", importOptions = DoNotIncludeTests.class)
class ArchitectureTest {
  @ArchTest
  static final ArchRule theCoreIsPure =
      noClasses()
          .that()
          .resideInAPackage("..coordinator.core..")
          .should()
          .dependOnClassesThat()
          .resideInAnyPackage("io.grpc..", "java.sql..", "java.net..", "io.minio..", "org.gaul..")
          .orShould()
          .callMethod(System.class, "nanoTime")
          .orShould()
          .callMethod(System.class, "currentTimeMillis")
          .orShould()
          .callMethod(System.class, "exit", int.class)
          .orShould()
          .callMethod(Thread.class, "sleep", long.class)
          .orShould()
          .callMethod(Instant.class, "now")
          .orShould()
          .callMethod(Clock.class, "systemUTC");

  @ArchTest
  static final ArchRule databasesInTheStoreAlone =
      noClasses()
          .that()
          .resideOutsideOfPackage("..coordinator.store..")
          .should()
          .dependOnClassesThat()
          .resideInAnyPackage("java.sql..", "javax.sql..", "org.sqlite..", "org.flywaydb..");

  @ArchTest
  static final ArchRule s3InTheObjectStoreAlone =
      noClasses()
          .that()
          .resideOutsideOfPackage("..coordinator.objectstore..")
          .should()
          .dependOnClassesThat()
          .resideInAnyPackage("io.minio..", "okhttp3", "org.gaul..", "software.amazon..");

  @ArchTest
  static final ArchRule noCycles =
      slices().matching("dev.baton.coordinator.(*)..").should().beFreeOfCycles();

  @ArchTest
  static final ArchRule theCoreKnowsNoAdapter =
      noClasses()
          .that()
          .resideInAPackage("..coordinator.core..")
          .should()
          .dependOnClassesThat()
          .resideInAnyPackage(
              "..coordinator.store..",
              "..coordinator.objectstore..",
              "..coordinator.grpc..",
              "..coordinator.web..",
              "..coordinator.config..",
              "..coordinator.housekeeping..");

  @ArchTest
  static final ArchRule theObjectStoreKnowsNoOtherAdapter =
      noClasses()
          .that()
          .resideInAPackage("..coordinator.objectstore..")
          .should()
          .dependOnClassesThat()
          .resideInAnyPackage(
              "..coordinator.store..",
              "..coordinator.grpc..",
              "..coordinator.web..",
              "..coordinator.config..",
              "..coordinator.housekeeping..");
}
