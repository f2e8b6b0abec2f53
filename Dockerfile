# datasetkit in a container.
#
#   docker build --target cpu -t datasetkit:cpu .
#   docker build --target cuda -t datasetkit:cuda .
#   docker run --rm -v "$PWD:/work" datasetkit:cpu build toyworld --count 20 --out /work/out
#   docker run --rm --gpus all -v "$PWD:/work" -v datasetkit-models:/models datasetkit:cuda doctor --preset grounded-sam
#
# The default package index serves PyTorch for CUDA. The cpu target is smaller with PyTorch's index of CPU builds:
# --build-arg TORCH_INDEX=URL, see the installation page of PyTorch.

FROM python:3.11-slim AS base
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 HF_HOME=/models
WORKDIR /opt/datasetkit
COPY constraints.txt ./
ARG TORCH_INDEX=
RUN pip install --no-cache-dir --constraint constraints.txt ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} torch
# The whole checkout: folders at the top are part of the package through symbolic links.
COPY . .

FROM base AS cpu
RUN pip install --no-cache-dir --constraint constraints.txt '.[s3,tune]' && useradd --create-home user \
    && mkdir -p /models /work && chown user /models /work
USER user
WORKDIR /work
ENTRYPOINT ["datasetkit"]

# The wheels of PyTorch bring the CUDA libraries; the host needs its driver and the NVIDIA container toolkit.
FROM base AS cuda
RUN pip install --no-cache-dir --constraint constraints.txt '.[s3,tune,vlm]' && useradd --create-home user \
    && mkdir -p /models /work && chown user /models /work
USER user
WORKDIR /work
ENTRYPOINT ["datasetkit"]
