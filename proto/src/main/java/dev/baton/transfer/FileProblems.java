package dev.baton.transfer;

import java.io.IOException;
import java.nio.charset.CharacterCodingException;
import java.nio.file.AccessDeniedException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;

/** Says in words what java.nio says with an exception's class. */
public final class FileProblems {
  private FileProblems() {}

  /** {@code FILE: no such file}, say. */
  public static String describe(Path file, IOException e) {
    return file + ": " + reason(file, e);
  }

  /** The same where the file, if there is one, is known from the exception alone. */
  public static String describe(IOException e) {
    if (e instanceof FileSystemException f && f.getFile() != null) {
      return describe(Path.of(f.getFile()), e);
    }
    return e.getMessage() == null ? e.getClass().getSimpleName() : e.getMessage();
  }

  private static String reason(Path file, IOException e) {
    String said = e instanceof FileSystemException f ? f.getReason() : e.getMessage();
    if (said == null && e instanceof NoSuchFileException) {
      return "no such file or folder";
    }
    if (said == null && e instanceof AccessDeniedException) {
      return "permission denied";
    }
    if (said == null && e instanceof FileAlreadyExistsException) {
      return "exists already";
    }
    if (e instanceof CharacterCodingException) {
      return "is not text";
    }
    if (Files.isDirectory(file)) {
      return "is a folder, not a file";
    }
    return said == null ? e.getClass().getSimpleName() : said;
  }
}
