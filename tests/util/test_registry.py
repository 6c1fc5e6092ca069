from __future__ import annotations

import sys

import pytest

from util.registry import closest, unknown


@pytest.fixture()
def registry(tmp_path, monkeypatch):
    package = tmp_path / "plugins_for_test"
    package.mkdir()
    (package / "__init__.py").write_text(
        "from pathlib import Path\nfrom util.registry import Registry\n"
        "R = Registry('plugin', 'plugins_for_test', '_plugin', Path(__file__).parent)\n"
    )
    (package / "good_plugin.py").write_text(
        "from plugins_for_test import R\n@R.register('good', 'fine')\nclass Good:\n    '''A good one.\n\n    More.'''\n"
    )
    (package / "bad_plugin.py").write_text(
        "from plugins_for_test import R\n@R.register('bad')\nclass Bad:\n    pass\nraise RuntimeError('imported')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in [name for name in sys.modules if name.startswith("plugins_for_test")]:
        del sys.modules[name]
    import plugins_for_test

    return plugins_for_test.R


def test_names_and_summaries_come_from_the_files_without_importing_them(registry):
    assert registry.names() == ("bad", "good")
    assert registry.summaries() == {"bad": "", "good": "A good one."}


def test_get_imports_only_what_it_needs_and_knows_aliases(registry):
    assert registry.get("fine") is registry.get("good")
    assert registry.canonical("fine") == "good"
    with pytest.raises(RuntimeError, match="imported"):
        registry.get("bad")


def test_the_other_files_are_not_read_for_a_name_that_has_its_own(registry):
    (registry.folder / "cut_plugin.py").write_text("class Half(")
    assert registry.canonical("good") == "good" and registry.get("good").__name__ == "Good"
    with pytest.raises(SyntaxError):
        registry.canonical("fine")  # an alias may stand in any file


def test_an_unknown_name_gets_the_closest_match(registry):
    with pytest.raises(ValueError, match=r"did you mean 'good'.*bad, good"):
        registry.get("goood")


def test_two_classes_cannot_have_one_name(registry):
    registry.get("good")
    with pytest.raises(ValueError, match="two plugins are called 'good'"):

        @registry.register("good")
        class Other:
            pass


def test_suggestions():
    assert closest("Batch", ["batch", "instance"]) == "batch"
    assert closest("zzz", ["batch", "instance"]) is None
    assert str(unknown("norm 'zzz'", "zzz", ["batch"])) == "unknown norm 'zzz': choose one of batch"
