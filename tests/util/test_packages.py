"""Optional packages: what to say where one is missing."""

from __future__ import annotations

import importlib

import pytest

from util.packages import needs


def test_a_missing_package_is_named_with_its_remedy():
    said = "^videos need the package not_there: pip install not_there$"
    with pytest.raises(ValueError, match=said), needs("videos need", "not_there"):
        importlib.import_module("not_there")


def test_one_that_does_not_import_says_why():
    said = r"^a needs the package b \(libx\.so is missing\): pip install b$"
    with pytest.raises(ValueError, match=said), needs("a needs", "b"):
        raise ImportError("libx.so is missing")


def test_other_errors_pass():
    with pytest.raises(KeyError), needs("a needs", "b"):
        raise KeyError("c")
