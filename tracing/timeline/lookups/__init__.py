"""The parts of an index of spans: rows by number, spans in pieces, and what cores scheduled and sent."""
