"""From records to tables. For notebooks: `from offline.table import read`, then `trials, arms = read(folder)`."""

from offline.table.frames import RunFrames, read

__all__ = ["RunFrames", "read"]
