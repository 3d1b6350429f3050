"""SIGTERM (a scheduler) and Ctrl-C end a run at the next step instead of anywhere."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType

from annotator3d.data.processes import end_with_parent
from annotator3d.errors import RunStoppedError
from annotator3d.reporter import Reporter

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopSignal:
    """Within its ``with`` block, the first signal is noted; a second one ends the process at once.

    Below torchrun, which passes on a signal that the process may have got already and kills it
    after 30 s anyway, a second one is not taken for impatience. A signal that is ignored stays
    ignored. Outside the main thread, where Python allows no handler, nothing is changed.
    """

    def __init__(self) -> None:
        self.number = 0  # of the signal that came; 0: none yet
        self._before: dict[int, object] = {}

    def __enter__(self) -> StopSignal:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                if signal.getsignal(number) != signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.number = number
        if "TORCHELASTIC_RUN_ID" not in os.environ:
            self.__exit__()


class StoppableReporter(Reporter):
    """Passes on to another reporter, and ends long work where it tells how far it has come.

    For work that is begun again from its start, such as scoring scans.
    """

    def __init__(self, reporter: Reporter, stop: StopSignal) -> None:
        self.reporter, self.stop = reporter, stop

    def info(self, text: str) -> None:
        self.reporter.info(text)

    def progress(self, task: str, done: int, total: int) -> None:
        self.reporter.progress(task, done, total)
        if self.stop.number and done < total:
            raise RunStoppedError(self.stop.number)


def serve_the_run(worker: int = 0) -> None:
    """For processes that read scans: the run, which they serve, decides when they end.

    A signal to all processes of a terminal or a job step is not meant for them. The run itself ends
    them with SIGTERM, though, if they do not end by themselves. They end with a run that is killed,
    too; torch's loader does not see that of a run that is killed while they start.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):  # it tells who sent a signal; macOS lacks it
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_end_with_the_run, daemon=True).start()
    end_with_parent()  # last: its thread must not be one that takes a SIGTERM


def _end_with_the_run() -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
        pass
    os._exit(0)
