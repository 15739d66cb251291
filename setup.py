"""Install the folder ``cli/`` as the package ``toolkit.cli``; everything else is in pyproject.toml.

A top-level package called ``cli`` would be in everybody's site-packages and clash with any other.
setuptools finds packages below one folder only, so the second folder is named here.
"""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["toolkit", "toolkit.*"]), "toolkit.cli"],
    package_dir={"toolkit.cli": "cli"},
)
