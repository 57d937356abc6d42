# An image with cofi-dist, torchrun and the compiled loops.
#   docker build --tag cofi-dist .                              for CPUs
#   docker build --tag cofi-dist:cuda --build-arg KIND=cuda .   for NVIDIA GPUs; the driver is the host's
#   docker run --rm --user $(id -u):$(id -g) --volume "$PWD":/work cofi-dist cofi-dist quickstart
ARG KIND=cpu

# Each kind says where its torch comes from, and which packages it needs beside Python.
FROM debian:trixie-slim AS cpu
ENV PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu PACKAGES=""

# PyPI's torch has the CUDA libraries with it. Triton compiles its launchers by a C compiler when they are first needed.
FROM nvidia/cuda:13.0.2-base-ubuntu24.04 AS cuda
ENV PACKAGES="gcc libc6-dev python3-dev"

# hadolint ignore=DL3006
FROM ${KIND} AS python
# hadolint ignore=DL3008,SC2086
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends python3 python3-venv ca-certificates $PACKAGES \
    && rm -rf /var/lib/apt/lists/*
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python3 -m venv /opt/cofi_dist
ENV PATH=/opt/cofi_dist/bin:$PATH

FROM python AS build
COPY . /src
RUN pip wheel --no-deps --wheel-dir /wheels /src

FROM python
ARG EXTRAS=plot,tensorboard
COPY constraints.txt /tmp/constraints.txt
COPY --from=build /wheels /wheels
RUN pip install --constraint /tmp/constraints.txt "$(ls /wheels/*.whl)[$EXTRAS]"
# The loops are of the processor that builds the image; on another kind, they are compiled when they are needed.
ARG FEATURES=64
RUN cofi-dist warm-up --features "$FEATURES"
WORKDIR /work
CMD ["cofi-dist", "--help"]
