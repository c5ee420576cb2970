FROM python:3.11-slim

WORKDIR /app
COPY pyproject.toml requirements.lock README.md LICENSE ./
COPY stream stream
COPY features features
COPY monitors monitors
COPY examples examples
RUN pip install --no-cache-dir -c requirements.lock . \
    && useradd --system --create-home penstock \
    && mkdir /models && chown penstock /models

USER penstock
VOLUME /models
ENV PYTHONUNBUFFERED=1 PYTHONHASHSEED=0 PENSTOCK_HOST=0.0.0.0 PENSTOCK_PORT=9100 PENSTOCK_MODELS=/models
EXPOSE 9100
ENTRYPOINT ["penstock"]
