# The worker, for NVIDIA GPUs (CUDA 13: driver 580 or newer, compute capability 7.5 or higher). The host has the driver and
# NVIDIA's container toolkit. From the archives that deploy/release --cuda makes:
#   docker build -t baton-worker-cuda -f deploy/docker/worker-cuda.Dockerfile deploy
#   docker run --gpus all ...
ARG BASE=debian:bookworm-slim
FROM ${BASE} AS unpacked
ADD target/release/baton-worker-*-linux-x86_64-cu13.tar.gz /unpacked/
RUN mv /unpacked/baton-worker-* /opt/baton

# The versions that the worker names where one is missing.
FROM python:3.12-slim-bookworm AS cuda
RUN pip install --no-cache-dir --no-deps --target /opt/cuda \
    nvidia-cuda-runtime==13.0.96 \
    nvidia-cuda-cupti==13.0.85 \
    nvidia-cublas==13.1.0.3 \
    nvidia-cudnn-cu13==9.19.0.56 \
    nvidia-cufft==12.0.0.61 \
    nvidia-curand==10.4.0.35 \
    nvidia-cusolver==12.0.4.66 \
    nvidia-cusparse==12.6.3.3 \
    nvidia-cufile==1.15.1.6 \
    nvidia-nccl-cu13==2.28.9 \
    nvidia-nvjitlink==13.0.88 \
    nvidia-cuda-nvrtc==13.0.88

FROM ${BASE}
COPY --from=unpacked /opt/baton /opt/baton
COPY --from=cuda /opt/cuda /opt/cuda
RUN ln -s /opt/baton/bin/baton /usr/local/bin/baton \
  && install -d -o 10001 -g 10001 -m 700 /var/lib/baton-worker
USER 10001:10001
# The worker looks for CUDA's libraries where Python would.
ENV HOME=/var/lib/baton-worker PYTHONPATH=/opt/cuda NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
VOLUME /var/lib/baton-worker
ENTRYPOINT ["baton"]
CMD ["worker", "--work-dir", "/var/lib/baton-worker", "--token-file", "/run/baton/worker.token"]
