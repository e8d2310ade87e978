"""A testbed for the tests of a module (the program `testbed` of tests/testkit): mock models, the control plane, one Envoy."""

import base64
import contextlib
import http.client
import json
import os
import pathlib
import subprocess
import urllib.parse
import uuid

import pytest

from answers import ANSWERS

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


CAPACITY = 1_000_000

# Buckets that refill less than a token during a test: a large one, which shows what was charged, and a small one. A bucket may
# take at most 366 days to fill.
APIS = f"""
apiVersion: headgate.dev/v1alpha1
kind: TrafficTagPolicy
metadata:
  name: apis
spec:
  tenantFrom: ["header:x-tenant-id"]
  apis:
    dialects: [ollama]
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
      capacity: {CAPACITY}
      refillPerSecond: 0.05
---
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
      refillPerSecond: 0.001
"""


def pytest_configure(config):
    config.addinivalue_line(
        "markers",
        "sdk(package, call, fails=None): the call of an SDK that a test makes, for docs/reference/sdks.md; "
        "`fails` says why it does not work, which the test shows",
    )


@contextlib.contextmanager
def running(*arguments):
    """The addresses of a testbed that runs meanwhile."""
    process = subprocess.Popen(
        [testbed_program(), *arguments],
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


@pytest.fixture(scope="module")
def testbed(tmp_path_factory):
    policy = tmp_path_factory.mktemp("sdk") / "policy.yaml"
    policy.write_text(POLICY)
    with running("--policy", policy) as addresses:
        yield addresses


class Apis:
    """A testbed whose mock models give the answers of `answers.py`."""

    def __init__(self, addresses):
        self.url = addresses["url"]
        self.authority = urllib.parse.urlsplit(self.url).netloc

    def headers(self, tenant, answer=None):
        """The headers of a request of this tenant, to which a mock model gives this answer."""
        headers = {"x-tenant-id": tenant}
        if answer is not None:
            headers["x-mock-answer"] = answer
        return headers

    def charged(self, tenant):
        """What the requests of this tenant for `gpt-4` have cost. Ask once for a tenant, because the question costs, too."""
        # Without a cost of its own, a request for the whole capacity would be admitted.
        usage = {"x-mock-usage": "prompt_tokens=1,completion_tokens=1"}
        status, _, text = self._chat(tenant, 5, usage)
        assert status == 200, text
        # A refusal tells the balance, and costs nothing.
        status, headers, text = self._chat(tenant, CAPACITY - 1, {})
        assert status == 429, text
        return CAPACITY - 2 - int(headers["x-ratelimit-remaining-tokens"])

    def _chat(self, tenant, max_tokens, headers):
        body = {"model": "gpt-4", "max_tokens": max_tokens, "messages": [{"role": "user", "content": "word"}]}
        headers = {"content-type": "application/json", **self.headers(tenant), **headers}
        connection = http.client.HTTPConnection(self.authority, timeout=30)
        with contextlib.closing(connection):
            connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
            reply = connection.getresponse()
            return reply.status, reply.headers, reply.read()


@pytest.fixture(scope="session")
def apis(tmp_path_factory):
    directory = tmp_path_factory.mktemp("apis")
    policy = directory / "policy.yaml"
    policy.write_text(APIS)
    answers = directory / "answers.json"
    written = {
        name: {"contentType": kind, "headers": headers, "body": base64.b64encode(body).decode()}
        for name, (kind, headers, body) in ANSWERS.items()
    }
    answers.write_text(json.dumps(written))
    with running("--policy", policy, "--answers", answers) as addresses:
        yield Apis(addresses)


@pytest.fixture
def tenant():
    """A tenant that no other test has."""
    return f"tenant-{uuid.uuid4()}"
