"""A testbed for the tests of a module (the program `testbed` of tests/testkit): mock models, the control plane, one Envoy."""

import json
import os
import pathlib
import subprocess

import pytest

REPO = pathlib.Path(__file__).resolve().parents[2]

# Three models with a bucket each: one refills within two seconds, one needs hours, and one is never empty.
POLICY = """
apiVersion: headgate.dev/v1alpha1
kind: TokenBucketPolicy
metadata:
  name: small
spec:
  models: [phi-3]
  buckets:
  - name: per-tenant
    key: [tenant]
    profile: tokens
    settleOn: reservation
    tokens:
      capacity: 100
      refillPerSecond: 50
---
apiVersion: headgate.dev/v1alpha1
kind: TokenBucketPolicy
metadata:
  name: slow
spec:
  models: [llama3-70b]
  buckets:
  - name: per-tenant
    key: [tenant]
    profile: tokens
    settleOn: reservation
    tokens:
      capacity: 1000
      refillPerSecond: 0.1
---
apiVersion: headgate.dev/v1alpha1
kind: TokenBucketPolicy
metadata:
  name: large
spec:
  models: [gpt-4]
  buckets:
  - name: per-tenant
    key: [tenant]
    profile: tokens
    tokens:
      capacity: 1000000
      refillPerSecond: 1000
"""


def testbed_program():
    """The newest build of the program, debug or release, in the current target directory."""
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", REPO / "target"))
    built = [target / profile / "testbed" for profile in ("debug", "release")]
    built = [program for program in built if program.is_file()]
    assert built, f"{target} has no program `testbed`; run `cargo build -p headgate-testkit -p headgate --bins`"
    return max(built, key=lambda program: program.stat().st_mtime)


@pytest.fixture(scope="module")
def testbed(tmp_path_factory):
    policy = tmp_path_factory.mktemp("sdk") / "policy.yaml"
    policy.write_text(POLICY)
    process = subprocess.Popen(
        [testbed_program(), "--policy", policy],
        cwd=REPO,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        line = process.stdout.readline()
        assert line, "the testbed did not start; its error is above"
        yield json.loads(line)
    finally:
        # The program exits when its standard input closes, and ends everything that it started.
        process.stdin.close()
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
