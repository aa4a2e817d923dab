"""A recorded request of each shape of the engine, small enough to be kept beside the notes that draw it."""
