"""Running work: options, devices, progress, timing, child processes, messages."""
