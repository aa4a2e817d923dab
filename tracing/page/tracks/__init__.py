"""The tracks of the Perfetto file: spans, samples, GPU activity, operators."""
