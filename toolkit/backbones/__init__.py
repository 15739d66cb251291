"""Frozen backbones: preprocessing, networks and the engines that run them.

`toolkit.backbones.frozen.load_backbone` combines them. A new family of networks is entered in
`toolkit.backbones.families`, a new engine in `toolkit.backbones.registry`.
"""
