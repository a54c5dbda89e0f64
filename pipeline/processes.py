"""What a process that this program starts owes to the one that started it."""

import os
import signal
import threading
from multiprocessing import parent_process
from multiprocessing.connection import wait


def serve_parent() -> None:
    """Leave Ctrl-C to the parent, and end when it ends: work that nobody waits for would be in the next run's way."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process: the one that waits for us stops us
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
