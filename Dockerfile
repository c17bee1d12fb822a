# geodamage on a CPU. Build and run it from a clone:
#   docker build -t geodamage .
#   docker run --rm -v "$PWD:/data" geodamage assess pre.tif post.tif -o buildings.gpkg
# The first stage has what only building needs; the second has Python, the environment and a user.

FROM python:3.12-slim AS build
RUN python -m venv /opt/geodamage
ENV PATH=/opt/geodamage/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY geodamage geodamage
# `cluster` makes the same image the worker of Dask on Kubernetes.
ARG EXTRAS=cpu,cluster,excel,parquet,people,report,stac
# Tests of other packages are a tenth of the environment, and nothing imports them.
RUN pip install ".[${EXTRAS}]" && pip uninstall --yes pip \
    && find /opt/geodamage -type d -name tests -prune -exec rm -rf {} +

FROM python:3.12-slim
LABEL org.opencontainers.image.title="geodamage" \
      org.opencontainers.image.licenses="Apache-2.0 AND CC-BY-NC-SA-4.0"
RUN useradd --create-home --uid 1000 geodamage
COPY --from=build /opt/geodamage /opt/geodamage
ENV PATH=/opt/geodamage/bin:$PATH PYTHONUNBUFFERED=1 MPLBACKEND=Agg
USER geodamage
WORKDIR /data
ENTRYPOINT ["geodamage"]
CMD ["--help"]
