package dev.baton.rpc;

import java.security.cert.CertificateException;

/** A server has shown another key than the one that was pinned; nothing was sent to it. */
public final class WrongKeyException extends CertificateException {
  private static final long serialVersionUID = 1L;

  WrongKeyException(Pin expected, Pin shown) {
    super("its key is " + shown + ", the token names " + expected);
  }
}
