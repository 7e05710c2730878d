# SPDX-License-Identifier: Apache-2.0
"""The root of deploy/ec2: well-formed, and what it plans."""
import re

import pytest

import terraform


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    terraform.program()
    made = terraform.Root(tmp_path_factory.mktemp("root"), "ec2")
    made.must("init", "-input=false", "-no-color", "-backend=false", *terraform.options_of_init())
    return made


def test_the_root_is_formatted_and_valid(root):
    root.must("fmt", "-check", "-recursive", "-diff")
    root.must("validate", "-no-color")


def test_what_is_planned_is_what_the_document_says(root):
    said = root.must("test", "-no-color")
    assert re.search(r"^Success! 7 passed, 0 failed", said, re.MULTILINE), said[-3000:]
