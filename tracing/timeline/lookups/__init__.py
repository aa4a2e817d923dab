"""The parts of an index of spans: rows by number and request, calls, spans in pieces, what cores scheduled and sent."""
