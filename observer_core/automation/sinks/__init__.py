"""Where records are delivered: a log, an NDJSON file, a queue, a webhook."""
