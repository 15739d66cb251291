"""How work is run: devices, progress, timing, child processes, messages."""
