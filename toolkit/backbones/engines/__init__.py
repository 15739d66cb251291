"""What runs a network: OpenVINO on CPUs, torch on GPUs or anywhere."""
