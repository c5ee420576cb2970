# The feature engine in C needs a compiler to be built, and none to run.
FROM python:3.11-slim AS build

RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
WORKDIR /app
COPY pyproject.toml README.md LICENSE ./
COPY locks locks
COPY penstock penstock
COPY stream stream
COPY features features
COPY monitors monitors
COPY examples examples
RUN pip install --no-cache-dir --require-hashes --no-deps -r locks/build.txt \
    && pip wheel --no-cache-dir --no-build-isolation --no-deps --wheel-dir /wheels .

FROM python:3.11-slim

WORKDIR /app
COPY locks/run.txt ./
COPY examples examples
COPY --from=build /wheels /wheels
RUN pip install --no-cache-dir --require-hashes --no-deps -r run.txt \
    && pip install --no-cache-dir --no-deps /wheels/*.whl && rm -r /wheels \
    && useradd --system --create-home penstock \
    && mkdir /models && chown penstock /models

USER penstock
VOLUME /models
ENV PYTHONUNBUFFERED=1 PYTHONHASHSEED=0 PENSTOCK_HOST=0.0.0.0 PENSTOCK_PORT=9100 PENSTOCK_MODELS=/models
EXPOSE 9100
ENTRYPOINT ["penstock"]
