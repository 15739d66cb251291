"""Frozen backbones: what pictures have to look like, which network, on which engine.

`load_backbone` puts them together; `toolkit.backbones.families` is where a new family of networks is entered.
"""
