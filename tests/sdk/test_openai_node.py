"""The official `openai` SDK for Node: runs each test of `openai.test.mjs` as one test."""

import os
import pathlib
import re
import subprocess

import pytest

PROGRAM = pathlib.Path(__file__).with_name("openai.test.mjs")
NAMES = re.findall(r'^test\("(.+?)"', PROGRAM.read_text(), re.MULTILINE)


def test_the_program_has_tests():
    assert len(NAMES) >= 5


@pytest.mark.parametrize("name", NAMES)
def test_with_node(testbed, name):
    sdk = os.environ.get("HEADGATE_NODE_SDK")
    assert sdk, "HEADGATE_NODE_SDK is not set; run this with tools/with"
    ran = subprocess.run(
        ["node", "--test", "--test-reporter=tap", f"--test-name-pattern=^{re.escape(name)}$", PROGRAM],
        env={**os.environ, "HEADGATE_URL": testbed["url"]},
        capture_output=True,
        text=True,
        timeout=120,
    )
    # Node reports success if the pattern matches no test.
    passed = re.search(r"^# pass (\d+)$", ran.stdout, re.MULTILINE)
    assert ran.returncode == 0 and passed and passed[1] != "0", ran.stdout + ran.stderr
