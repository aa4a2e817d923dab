"""The kernels of a device by family: their time a step, communication that is exposed, and what sets a step's pace."""
