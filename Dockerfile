# The service's image. Web is the default; worker and beat are the same image with another command:
#   docker run --no-healthcheck … IMAGE /opt/service/entrypoint.worker.sh
# Needs no compiler and no system package: everything comes as wheels or pure Python.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS packages
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIPENV_NOSPIN=1
WORKDIR /build
COPY bin/tools.txt ./
RUN python -m venv /opt/tools \
 && /opt/tools/bin/pip install --only-binary :all: --requirement tools.txt \
 && python -m venv /opt/venv
COPY Pipfile Pipfile.lock ./
# pipenv installs into the environment that is active.
RUN VIRTUAL_ENV=/opt/venv /opt/tools/bin/pipenv sync \
 && /opt/venv/bin/pip check

FROM ${PYTHON_IMAGE}
RUN useradd --system --uid 10001 --no-create-home --home-dir /nonexistent service
COPY --from=packages /opt/venv /opt/venv
WORKDIR /opt/service
COPY entrypoint.web.sh entrypoint.worker.sh entrypoint.beat.sh ./
COPY bin/service.sh bin/
COPY src/origin src/origin
COPY src/migrations src/migrations
# Compiled here, since the service may not write: its file system can be read-only.
RUN python -m compileall -q src
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONPATH=/opt/service/src \
    FLASK_APP="origin.app:create_app()"
USER 10001:10001
EXPOSE 8085
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s \
  CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f\"http://127.0.0.1:{os.environ.get('PORT') or 8085}/health/live\", timeout=4)"]
CMD ["/opt/service/entrypoint.web.sh"]
