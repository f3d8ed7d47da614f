"""Rendering a PDF leaves the event loop free: a process of its own, patched by gevent as the web is."""

import subprocess
import sys
import time

from devstack.processes import ROOT

_BESIDE_THE_LOOP = """
from gevent import monkey
monkey.patch_all()
import time
import gevent
from origin.documents.pdf import Issuer
from origin.declarations.pdf.document import render
from origin.declarations.pdf.example import BEGIN, example
from origin.shared.native_threads import run_in_native_thread

query, found = example(90)
beats = 0

def beat():
    global beats
    while True:
        gevent.sleep(0.002)
        beats += 1

gevent.spawn(beat)
rendering = gevent.spawn(
    run_in_native_thread, lambda: [render(query, found, Issuer("a", "b", BEGIN), "en") for _ in range(5)]
)
pdfs = rendering.get()
assert len(pdfs) == 5 and pdfs[0].startswith(b"%PDF")
print(beats)
"""


def test_the_loop_beats_on_while_pages_are_rendered() -> None:
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", _BESIDE_THE_LOOP],
        env={"PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 5
    assert time.monotonic() - begun < 60
