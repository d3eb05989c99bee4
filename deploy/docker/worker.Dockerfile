# The worker, for CPUs. From the archives that deploy/release makes:
#   docker build -t baton-worker -f deploy/docker/worker.Dockerfile deploy
ARG BASE=debian:bookworm-slim
FROM ${BASE} AS unpacked
ADD target/release/baton-worker-*-linux-x86_64-cpu.tar.gz /unpacked/
RUN mv /unpacked/baton-worker-* /opt/baton

FROM ${BASE}
COPY --from=unpacked /opt/baton /opt/baton
RUN ln -s /opt/baton/bin/baton /usr/local/bin/baton \
  && install -d -o 10001 -g 10001 -m 700 /var/lib/baton-worker
USER 10001:10001
ENV HOME=/var/lib/baton-worker
VOLUME /var/lib/baton-worker
ENTRYPOINT ["baton"]
CMD ["worker", "--work-dir", "/var/lib/baton-worker", "--token-file", "/run/baton/worker.token"]
