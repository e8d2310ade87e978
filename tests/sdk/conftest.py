"""One world for the tests of a module (the `stage` program of tests/testkit): mock models, the control plane, one Envoy."""

import json
import os
import pathlib
import subprocess

import pytest

REPO = pathlib.Path(__file__).resolve().parents[2]

# Three models, three buckets: one that refills in two seconds, one that takes hours, one that nobody empties.
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


def stage_program():
    """The program that cargo built; debug or release, in the target directory in use."""
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", REPO / "target"))
    built = [target / profile / "stage" for profile in ("debug", "release")]
    built = [program for program in built if program.is_file()]
    assert built, f"there is no `stage` in {target}: cargo build -p headgate-testkit -p headgate --bins"
    return max(built, key=lambda program: program.stat().st_mtime)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    policy = tmp_path_factory.mktemp("sdk") / "policy.yaml"
    policy.write_text(POLICY)
    stage = subprocess.Popen(
        [stage_program(), "--policy", policy],
        cwd=REPO,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        line = stage.stdout.readline()
        assert line, "the stage did not start; what it said is above"
        yield json.loads(line)
    finally:
        # The stage ends with its standard input, and takes everything it started with it.
        stage.stdin.close()
        try:
            stage.wait(timeout=30)
        except subprocess.TimeoutExpired:
            stage.kill()
            stage.wait()
