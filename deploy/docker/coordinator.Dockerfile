# The coordinator and the client. From the archives that deploy/release makes:
#   docker build -t baton-coordinator -f deploy/docker/coordinator.Dockerfile deploy
ARG BASE=debian:bookworm-slim
FROM ${BASE} AS unpacked
ADD target/release/baton-coordinator-*-linux-x86_64.tar.gz /unpacked/
RUN mv /unpacked/baton-coordinator-* /opt/baton

FROM ${BASE}
COPY --from=unpacked /opt/baton /opt/baton
# What machines that join are served.
COPY target/release/SHA256SUMS target/release/baton-worker-*.tar.gz /opt/baton/releases/
RUN ln -s /opt/baton/bin/baton /usr/local/bin/baton \
  && install -d -o 10001 -g 10001 -m 700 /var/lib/baton /run/baton
USER 10001:10001
ENV HOME=/var/lib/baton
VOLUME /var/lib/baton
EXPOSE 7070 7071 7072
ENTRYPOINT ["baton"]
CMD ["coordinator", "--data-dir", "/var/lib/baton", "--listen", "0.0.0.0:7070", "--http", "0.0.0.0:7071", "--objects", "0.0.0.0:7072"]
