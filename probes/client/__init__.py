"""A fast HTTP client for streams of OpenAI-compatible servers: connections, time-outs, and what the answers say."""
