"""Runs a notebook's cells one by one in a Jupyter kernel, as a person would who looks at what each says.

Usage: run_notebook.py NOTEBOOK CELL=REGEX...

A cell that is named is stopped, as by the button beside it, when it has said REGEX. Prints one line of JSON for each
cell: {"id", "status": "ok" | "error" | "stopped", "output"}; ends at the first error, as "Run all" does. The status of a
cell that does not end says why.
"""

import json
import queue
import re
import signal
import sys
import time

import nbformat
from jupyter_client.manager import start_new_kernel

LIMIT_S = 180
PRESS_AGAIN_S = 5


def text(message):
    content = message["content"]
    if message["msg_type"] == "stream":
        return content["text"]
    if message["msg_type"] == "error":
        return f"{content['ename']}: {content['evalue']}\n"
    return ""


def run(manager, client, cell, stop):
    output, pressed = "", None
    request = client.execute(cell.source, store_history=True)
    end = time.monotonic() + LIMIT_S
    state = "busy"
    while state != "idle":
        now = time.monotonic()
        if now > end or not manager.is_alive():
            why = f"no end after {LIMIT_S} s" if now > end else "the kernel died"
            return {"id": cell.id, "status": why, "output": output}
        # Whoever sees nothing happen presses again.
        if pressed and now > pressed + PRESS_AGAIN_S or not pressed and stop and stop.search(output):
            manager.interrupt_kernel()
            pressed = now
        try:
            message = client.get_iopub_msg(timeout=1)
        except queue.Empty:
            continue
        if message["parent_header"].get("msg_id") != request:
            continue
        output += text(message)
        if message["msg_type"] == "status":
            state = message["content"]["execution_state"]
    reply = client.get_shell_msg(timeout=LIMIT_S)
    while reply["parent_header"].get("msg_id") != request:
        reply = client.get_shell_msg(timeout=LIMIT_S)
    status = reply["content"]["status"]
    return {"id": cell.id, "status": "stopped" if pressed else status, "output": output}


def main():
    # Whoever runs this can end it and the kernel with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    notebook = nbformat.read(sys.argv[1], as_version=4)
    nbformat.validate(notebook)
    stops = dict(argument.split("=", 1) for argument in sys.argv[2:])
    manager, client = start_new_kernel(startup_timeout=LIMIT_S, kernel_name="python3")
    try:
        for cell in notebook.cells:
            if cell.cell_type != "code":
                continue
            stop = stops.get(cell.id)
            result = run(manager, client, cell, re.compile(stop) if stop else None)
            print(json.dumps(result), flush=True)
            if result["status"] not in ("ok", "stopped"):
                break
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


main()
