"""The layout of the samples of what kept the engine's threads from running.

`contention.csv` has a row for each total that grew: `time_ns` of CLOCK_MONOTONIC, `source`, `pid` and `thread` (0 for
what concerns the whole machine), and `total_ns` since that thread, control group or machine began.
"""

FILE = "contention.csv"
COLUMNS = ("time_ns", "source", "pid", "thread", "total_ns")
# Sources: a thread in the run queue; the control group over its CPU quota; the hypervisor, over all cores; a process
# that a signal had stopped, to within the time between two samples.
THREAD, THROTTLED, STEAL, STOPPED = "run queue", "throttled", "steal", "stopped"
