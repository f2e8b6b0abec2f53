# datasetkit in a container, for CUDA and for CPUs.
#
#   docker build -t datasetkit .
#   docker run --rm -v "$PWD:/work" datasetkit build toyworld --count 20 --out scenes
#   docker run --rm --gpus all -v "$PWD:/work" -v datasetkit-models:/models datasetkit doctor --preset grounded-sam
#
# The default package index serves PyTorch with the CUDA libraries; the host needs its driver and the NVIDIA container
# toolkit. For a smaller image without CUDA, name PyTorch's index of CPU builds, which its installation page has:
#
#   docker build --build-arg TORCH_INDEX=URL -t datasetkit:cpu .

FROM python:3.11-slim
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 HF_HOME=/models
WORKDIR /opt/datasetkit
COPY constraints.txt ./
ARG TORCH_INDEX=
RUN pip install --no-cache-dir --constraint constraints.txt ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} torch torchvision
# The whole checkout: folders at the top are part of the package through symbolic links.
COPY . .
RUN pip install --no-cache-dir --constraint constraints.txt '.[s3,tune,vlm]' && useradd --create-home user \
    && mkdir -p /models /work && chown user /models /work
USER user
WORKDIR /work
ENTRYPOINT ["datasetkit"]
