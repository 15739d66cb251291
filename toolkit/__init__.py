"""Multi-label image tagging on one frozen-backbone pass.

The verbs of the command line are functions here, and the parts are usable on plain arrays::

    import toolkit

    toolkit.embed("train/")
    toolkit.compare()
    toolkit.predict("test/", out="submit.csv")

    head = toolkit.get_head("logreg")(C=0.01).fit(X, Y)

Everything is imported when it is first used: ``import toolkit`` alone loads nothing heavy.
"""

import lazy_loader

# the names are listed in __init__.pyi, which type checkers read too
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
