# One Observer in two images, from one wheel: `standalone` (files and SQLite, port 8000) and `functions` (the
# Azure Functions host). docs/deployment.md says how to build, run and renew them.

# What a build takes as base: the pinned stages below, or any other image by its digest. Dependabot renews a
# FROM with tag and digest, and no ARG; scripts/renew_images.sh does it by hand.
ARG PYTHON_BASE=python-pinned
ARG FUNCTIONS_BASE=functions-pinned
# checkov:skip=CKV_DOCKER_7:a FROM that names an argument has its tag and digest in the pinned stage
# What of the optional packages comes along (pyproject.toml names them); all pinned in requirements-dev.txt.
ARG EXTRAS=azure-monitor,backup,calendars,market,otlp,parquet,sql

FROM python:3.11-slim-bookworm@sha256:0a310eeecf4e1f5a0743f9a6520c90c88d089c903ca5fd283f501e3a805f5f89 AS python-pinned

FROM mcr.microsoft.com/azure-functions/python:4-python3.13@sha256:f2486500c134e0b406825b3227a91b2097175d4c6a7008575772514567c9bbd5 AS functions-pinned

# ---------------------------------------------------------------------- the wheel

FROM ${PYTHON_BASE} AS builder
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
COPY requirements-dev.txt ./
RUN pip install --only-binary :all: --constraint requirements-dev.txt hatchling
COPY LICENSE NOTICE README.md pyproject.toml requirements.txt ./
COPY observer_core observer_core
# The same time gives the same bytes; without one hatchling takes its own fixed one.
ARG SOURCE_DATE_EPOCH
RUN python -m hatchling build -t wheel -d /dist

# Alone, so that `--build-context wheel=FOLDER` can bring one that was built before.
FROM scratch AS wheel
COPY --from=builder /dist /

# ---------------------------------------------------------------------- packages

# Nothing is resolved anew: requirements.txt is complete, and what the extras need is held by its constraints.
# Only wheels, so that no compiler is needed. Bytecode is checked by nobody later: the folder is read-only.
# (ccxt brings a library that is not even Python, and that nobody imports: static_dependencies/bip.)

FROM ${PYTHON_BASE} AS standalone-packages
ARG EXTRAS
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
COPY requirements.txt requirements-dev.txt ./
RUN python -m venv --without-pip /opt/observer \
    && pip --python /opt/observer/bin/python install --no-compile --only-binary :all: --no-deps \
        --requirement requirements.txt
RUN --mount=type=bind,from=wheel,target=/wheel \
    pip --python /opt/observer/bin/python install --no-compile --only-binary :all: \
        --constraint requirements-dev.txt "qts-observer[${EXTRAS}] @ file://$(echo /wheel/*.whl)" \
    && pip --python /opt/observer/bin/python check \
    && /opt/observer/bin/python -m compileall -q -j 0 -x /static_dependencies/bip/ --invalidation-mode unchecked-hash \
        /opt/observer/lib

FROM ${FUNCTIONS_BASE} AS functions-packages
ARG EXTRAS
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
COPY requirements.txt requirements-dev.txt ./
RUN python3 -m venv --without-pip /opt/observer \
    && python3 -m pip --python /opt/observer/bin/python install --no-compile --only-binary :all: --no-deps \
        --requirement requirements.txt
RUN --mount=type=bind,from=wheel,target=/wheel \
    python3 -m pip --python /opt/observer/bin/python install --no-compile --only-binary :all: \
        --constraint requirements-dev.txt "qts-observer[${EXTRAS}] @ file://$(echo /wheel/*.whl)" \
    && python3 -m pip --python /opt/observer/bin/python check \
    && mv /opt/observer/lib/python3.13/site-packages /packages \
    && python3 -m compileall -q -j 0 -x /static_dependencies/bip/ --invalidation-mode unchecked-hash \
        /packages

# ---------------------------------------------------------------------- standalone

FROM ${PYTHON_BASE} AS standalone
RUN groupadd --gid 10001 qts \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /app --shell /usr/sbin/nologin qts \
    && install --directory --owner=qts --group=qts /app/data /app/data/observer /app/logs
WORKDIR /app
COPY --from=standalone-packages /opt/observer /opt/observer
COPY deploy/image/healthcheck.py /opt/qts/healthcheck.py
COPY deployment_config.json ./
COPY examples examples
COPY config config
# Beyond loopback the Observer does not start without a token: docs/access.md.
ENV PATH=/opt/observer/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONPATH=/app \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    QTS_OBSERVER_STANDALONE=1 \
    OBSERVER_ROOT=/app \
    OBSERVER_DATA_DIR=/app/data/observer \
    OBSERVER_LOG_DIR=/app/logs \
    OBSERVER_WEB__HOST=0.0.0.0 \
    OBSERVER_WEB__PORT=8000
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --retries=3 \
    CMD ["python", "/opt/qts/healthcheck.py", "8000"]
# No shell and no init between: it hears SIGTERM itself, also as process 1, and starts no other process.
ENTRYPOINT ["observer"]
CMD ["run", "--no-console"]
ARG VERSION=0
ARG REVISION
ARG CREATED
ENV QTS_OBSERVER_REVISION=${REVISION}
LABEL org.opencontainers.image.title="QTS Observer" \
    org.opencontainers.image.description="An independent, auditable watcher beside a quant trading system." \
    org.opencontainers.image.licenses="MIT" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}" \
    org.opencontainers.image.created="${CREATED}"

# ---------------------------------------------------------------------- functions

FROM ${FUNCTIONS_BASE} AS functions
# The host keeps a mark beside its binaries when it makes its keys, and something of its own in its home.
RUN groupadd --gid 10001 qts \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /home --shell /usr/sbin/nologin qts \
    && install --directory --owner=qts --group=qts \
        /azure-functions-host/Secrets /home/data /home/LogFiles /home/.aspnet /home/.azurefunctions
WORKDIR /home/site/wwwroot
COPY --from=functions-packages /packages .python_packages/lib/site-packages
COPY deploy/image/healthcheck.py /opt/qts/healthcheck.py
COPY host.json function_app.py ./
COPY config config
# As in local.settings.json.example; the app settings of a deployment win. Who is not root may not have port 80
# everywhere, so App Service has to be told: WEBSITES_PORT=8080. Outside Azure only PYTHONPATH leads to the packages.
ENV PYTHONPATH=/home/site/wwwroot/.python_packages/lib/site-packages \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHON_THREADPOOL_THREAD_COUNT=32 \
    ASPNETCORE_URLS=http://+:8080 \
    AzureWebJobsScriptRoot=/home/site/wwwroot \
    AzureFunctionsJobHost__FileWatchingEnabled=false \
    AzureFunctionsJobHost__Logging__FileLoggingMode=Never \
    AzureFunctionsJobHost__Logging__Console__IsEnabled=true \
    DOTNET_EnableDiagnostics=0 \
    FUNCTIONS_WORKER_RUNTIME=python \
    OBSERVER_ROOT=/home/site/wwwroot \
    OBSERVER_CONFIG_DIR=config/functions \
    OBSERVER_STORAGE__KIND=azure \
    OBSERVER_QUEUE_PREFIX=observer \
    OBSERVER_COLLECT_SCHEDULE="* * * * * *" \
    OBSERVER_CLOCK_SCHEDULE="*/10 * * * * *" \
    OBSERVER_SWEEP_SCHEDULE="0 */5 * * * *" \
    OBSERVER_MAINTAIN_SCHEDULE="0 23 * * * *" \
    OBSERVER_BACKUP_SCHEDULE="0 */10 * * * *"
USER 10001:10001
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=10s --start-period=120s --retries=3 \
    CMD ["python3", "/opt/qts/healthcheck.py", "8080"]
ARG VERSION=0
ARG REVISION
ARG CREATED
ENV QTS_OBSERVER_REVISION=${REVISION}
LABEL org.opencontainers.image.title="QTS Observer (Azure Functions)" \
    org.opencontainers.image.description="An independent, auditable watcher beside a quant trading system." \
    org.opencontainers.image.licenses="MIT" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}" \
    org.opencontainers.image.created="${CREATED}"
