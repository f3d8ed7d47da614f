# The service's image. It runs the web by default; worker and beat use another command:
#   docker run --no-healthcheck … IMAGE /opt/service/entrypoint.worker.sh
# The build needs no compiler and no system packages: all packages are wheels or pure Python.
# To use your own package index or certificate authority, pass them as build secrets, so that they don't
# stay in the image (doc/containers.md):
#   docker build --secret id=pip.conf,src=pip.conf --secret id=ca.crt,src=ca.crt .
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS packages
# pipenv reads only the indexes from pip.conf, so the certificates are passed by PIP_CERT.
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIPENV_NOSPIN=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /build
COPY bin/tools.txt ./
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf --mount=type=secret,id=ca.crt \
    if [ -s /run/secrets/ca.crt ]; then export PIP_CERT=/run/secrets/ca.crt; fi; \
    python -m venv /opt/tools \
 && /opt/tools/bin/pip install --only-binary :all: --requirement tools.txt \
 && python -m venv --without-pip /opt/venv
COPY Pipfile Pipfile.lock ./
# pipenv installs into the active environment (VIRTUAL_ENV). Packages' own tests are removed.
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf --mount=type=secret,id=ca.crt \
    if [ -s /run/secrets/ca.crt ]; then export PIP_CERT=/run/secrets/ca.crt; fi; \
    VIRTUAL_ENV=/opt/venv /opt/tools/bin/pipenv sync \
 && /opt/tools/bin/pip --python /opt/venv/bin/python check \
 && find /opt/venv -depth -type d \( -name tests -o -name __pycache__ \) -exec rm -r {} + \
 && /opt/venv/bin/python -m compileall -q /opt/venv

FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="AccountService" \
      org.opencontainers.image.description="Accounts of granular guarantees of origin" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="1.0.0"
RUN groupadd --gid 10001 service \
 && useradd --no-log-init --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent \
      --shell /usr/sbin/nologin service
COPY --from=packages /opt/venv /opt/venv
WORKDIR /opt/service
COPY entrypoint.web.sh entrypoint.worker.sh entrypoint.beat.sh ./
COPY bin/service.sh bin/
COPY src/origin src/origin
COPY src/migrations src/migrations
# The git revision, for example: docker build --build-arg REVISION="$(git rev-parse HEAD)" .
ARG REVISION=""
LABEL org.opencontainers.image.revision="${REVISION}"
# Compiled here, because the file system may be read-only when the service runs.
RUN printf '%s' "${REVISION}" >src/origin/REVISION && python -m compileall -q src
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONPATH=/opt/service/src \
    FLASK_APP="origin.app:create_app()"
USER 10001:10001
EXPOSE 8085
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s \
  CMD ["python", "-m", "origin.healthcheck"]
CMD ["/opt/service/entrypoint.web.sh"]
