"""The breakdown of requests as spans of OpenTelemetry, sent to whatever takes OTLP."""
