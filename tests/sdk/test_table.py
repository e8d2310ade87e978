"""`docs/reference/sdks.md` lists the calls that the tests make. HEADGATE_WRITE_SDKS=1 writes it."""

import importlib
import importlib.metadata
import os
import pathlib

HERE = pathlib.Path(__file__).parent
TABLE = HERE.parents[1] / "docs/reference/sdks.md"
HEAD = """# SDKs

Generated from the marks of the tests in `tests/sdk`; this writes it:

```bash
HEADGATE_WRITE_SDKS=1 tools/with sh -c '"$HEADGATE_PYTHON" -m pytest tests/sdk/test_table.py'
```

The calls of official SDKs for Python that the tests make, unmodified, through a real Envoy. `→` names the error that the SDK raises. The
answers are those of mock models, in the form of each API. The mock models speak no gRPC, so `grpc` calls of `tritonclient` are tested only where
the filter answers. The SDK of OpenAI for Node is tested, too (`tests/sdk/openai.test.mjs`).
"""


def calls():
    """By package, its calls in the order of the tests, each with the reason why it does not work, if it does not."""
    found = {}
    for file in sorted(HERE.glob("test_*.py")):
        for test in vars(importlib.import_module(file.stem)).values():
            # A fixture and a module have none.
            for mark in getattr(test, "pytestmark", []):
                if mark.name == "sdk":
                    package, call = mark.args
                    found.setdefault(package, {})[call] = mark.kwargs.get("fails")
    return found


def code(call):
    """`call, with …` and `call → Error`, with the code in backticks."""
    for separator in (" → ", ", "):
        if separator in call:
            first, rest = call.split(separator, 1)
            return f"`{first}`{separator}" + (f"`{rest}`" if separator == " → " else rest)
    return f"`{call}`"


def table():
    sections = [HEAD]
    for package, of_package in sorted(calls().items()):
        rows = [f"| {code(call)} | {f'no: {fails}' if fails else 'yes'} |" for call, fails in of_package.items()]
        version = importlib.metadata.version(package)
        sections.append("\n".join([f"## {package} {version}\n", "| call | works |", "|---|---|", *rows, ""]))
    return "\n".join(sections)


def test_the_table_is_that_of_the_tests():
    if os.environ.get("HEADGATE_WRITE_SDKS"):
        TABLE.write_text(table())
    assert TABLE.read_text() == table(), "run this test with HEADGATE_WRITE_SDKS=1"
