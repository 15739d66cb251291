"""The contract suite passes a sound head and fails each broken one at the test that is about its fault."""

# modules that are first imported in a run are dropped after it, and numpy cannot be imported twice
import faiss  # noqa: F401
import sklearn.base  # noqa: F401

import toolkit.heads.knn
import toolkit.testing.heads  # noqa: F401

pytest_plugins = ["pytester"]

IMPORTS = """
import numpy as np
from toolkit.heads.knn.head import Knn
from toolkit.testing.heads import HeadContract
"""
HEAD = """
class Mine{number}(Knn):
    name = "mine"
    {body}

class Test{number}(HeadContract):
    head_class = Mine{number}
    options = {{"k": 5, "temperature": 0.1}}
"""

FAULTS = {
    "test_options__are_stored_and_described": "def set_params(self, **options): return self",
    "test_options__a_wrong_type_is_an_option_error": """
    def __init__(self, **options):
        super().__init__(**options | {"seed": 0})""",
    "test_scores__shape_range_and_better_than_chance": "def scores(self, X): return 2 * super().scores(X)",
    "test_scores__no_rows_and_one_row": """
    def scores(self, X):
        return super().scores(X if len(X) else np.ones((1, 12)))""",
    "test_scores__float16_rows_are_read": """
    def scores(self, X):
        return super().scores(X) * np.float32(X.itemsize / 4)""",
    "test_save_load__bit_equal_and_without_pickle": """
    def save(self, folder):
        super().save(folder)
        (folder / "head.pkl").write_bytes(b"\\x80\\x04N.")""",
    "test_load__not_its_own_files": """
    def save(self, folder):
        super().save(folder)
        text = (folder / "head.json").read_text().replace('"mine"', '"not mine"')
        (folder / "head.json").write_text(text)""",
    "test_fit__a_second_fit_starts_afresh_and_seeds_repeat": """
    def fit(self, X, Y, **more):
        self.k += 1
        return super().fit(X, Y, **more)""",
    "test_fit__without_validation_rows_and_with_few_rows": """
    def fit(self, X, Y, **more):
        assert len(X) > 3
        return super().fit(X, Y, **more)""",
    "test_fit__takes_dense_and_integer_labels": """
    def fit(self, X, Y, **more):
        return super().fit(X, Y[:, ::-1] if isinstance(Y, np.ndarray) else Y, **more)""",
    "test_fit__views_are_learned_from_or_ignored": """
    def fit(self, X, Y, *, views=None, **more):
        return super().fit(X if views is None else np.zeros_like(X), Y, **more)""",
    "test_fit__arrays_that_do_not_fit_are_head_errors": """
    def fit(self, X, Y, **more):
        return super().fit(np.nan_to_num(X), Y, **more)""",
    "test_fit__progress_of_every_stage_ends_complete": """
    def fit(self, X, Y, *, progress=None, **more):
        if progress:
            progress("fit", 1, 2)
        return super().fit(X, Y, **more)""",
    "test_chosen__refits_without_choosing_again": """
    def chosen(self):
        return super().chosen() | {"k": self.k_ + 1}""",
    "test_history_and_diagnostics__are_json": "def diagnostics(self): return {'recall': np.float32(1)}",
    "test_add_tags__present_scores_stay_or_it_is_a_head_error": """
    def add_tags(self, X, Y, **more):
        self.k_ += 1
        return super().add_tags(X, Y, **more)""",
}
"""What a head's body adds to Knn, by the test that fails of it."""


def outcomes(pytester, bodies, *arguments):
    """Run the contract on a head of each body; return the names of the tests that passed and that failed."""
    heads = [HEAD.format(number=number, body=body) for number, body in enumerate(bodies)]
    pytester.makepyfile(test_mine=IMPORTS + "".join(heads))
    passed, _, failed = pytester.inline_run("-p", "no:cacheprovider", *arguments).listoutcomes()
    return [[report.nodeid.rpartition("::")[2] for report in reports] for reports in (passed, failed)]


def test_a_sound_head__passes_all(pytester):
    passed, failed = outcomes(pytester, ["pass"])
    assert failed == [] and set(FAULTS) < set(passed)


def test_a_broken_head__fails_at_its_fault(pytester):
    tests = [f"test_mine.py::Test{number}::{test}" for number, test in enumerate(FAULTS)]
    assert outcomes(pytester, FAULTS.values(), *tests) == [[], [*FAULTS]]
