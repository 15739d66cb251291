"""The engines of `toolkit.backbones.registry`: OpenVINO for CPUs, torch for every device."""
