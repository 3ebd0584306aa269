"""What the processes of a sweep do in tests that need no engine. Light: each of them imports it."""

import os
from multiprocessing.connection import Connection


def die(link: Connection) -> None:
    """End under every job."""
    link.recv()  # the study
    link.recv()
    os._exit(7)


def die_once(link: Connection) -> None:
    """End under the first job that no other process has ended under; else answer with the job itself."""
    study = link.recv()
    mark = study["folder"] / "died"
    while True:
        try:
            job = link.recv()
        except EOFError:
            return
        try:
            mark.open("x").close()
        except FileExistsError:
            link.send(("hours", 5))
            link.send(("done", [job, os.getpid()]))
        else:
            os._exit(7)


def die_idle(link: Connection) -> None:
    """Answer with the first job and end before there is another; the next process answers all."""
    study = link.recv()
    while True:
        try:
            job = link.recv()
        except EOFError:
            return
        link.send(("done", [job]))
        if not (study["folder"] / "died").exists():
            (study["folder"] / "died").touch()
            os._exit(7)


def hang(link: Connection) -> None:
    """Take a job, say so, and never answer."""
    study = link.recv()
    link.recv()
    (study["folder"] / str(os.getpid())).touch()
    while True:
        link.poll(None)
