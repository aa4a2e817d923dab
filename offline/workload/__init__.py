"""What requests look like: lengths, shared prefixes and sampling, out of profiles, files of prompts, or traces."""
