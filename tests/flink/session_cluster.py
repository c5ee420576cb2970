"""A Flink cluster of processes on this machine: a JobManager, and TaskManagers that can be killed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

from tests.patience import PATIENCE_S, eventually

CONFIG = """\
jobmanager.rpc.address: 127.0.0.1
jobmanager.rpc.port: {rpc}
jobmanager.bind-host: 127.0.0.1
jobmanager.memory.process.size: 900m
rest.address: 127.0.0.1
rest.bind-address: 127.0.0.1
rest.port: {rest}
taskmanager.host: 127.0.0.1
taskmanager.bind-host: 127.0.0.1
taskmanager.numberOfTaskSlots: 1
taskmanager.memory.process.size: 1200m
taskmanager.memory.managed.size: 64m
heartbeat.timeout: 8000
heartbeat.interval: 2000
"""


class SessionCluster:
    """Started with `start`, ended with `end`; `rest` is its address for jobs."""

    def __init__(self, python: str, folder: Path, packages: list[Path]) -> None:
        self.home = next((Path(python).parents[1] / "lib").glob("python3*/site-packages")) / "pyflink"
        self.folder = folder
        ports = []
        for _ in range(2):
            with socket.socket() as taken:
                taken.bind(("127.0.0.1", 0))
                ports.append(taken.getsockname()[1])
        self.rest = f"127.0.0.1:{ports[1]}"
        conf = folder / "conf"
        conf.mkdir()
        (conf / "config.yaml").write_text(CONFIG.format(rpc=ports[0], rest=ports[1]))
        for name in ("log4j-console.properties", "log4j.properties"):
            (conf / name).write_bytes((self.home / "conf" / name).read_bytes())
        self.env = {
            **os.environ,
            "FLINK_HOME": str(self.home),
            "FLINK_CONF_DIR": str(conf),
            "FLINK_LOG_DIR": str(folder),
            "FLINK_PID_DIR": str(folder),
            "PATH": f"{Path(python).parent}:{os.environ['PATH']}",
            "PYTHONPATH": ":".join(map(str, [*packages, self.home.parent])),
            "PYTHONHASHSEED": "0",
        }
        self.processes: list[subprocess.Popen[bytes]] = []

    def run(self, script: str) -> subprocess.Popen[bytes]:
        """One more process of the cluster: `jobmanager.sh` or `taskmanager.sh`."""
        with (self.folder / f"{script}.out").open("ab") as output:
            process = subprocess.Popen(
                [str(self.home / "bin" / script), "start-foreground"],
                env=self.env, stdout=output, stderr=output, start_new_session=True,
            )  # fmt: skip
        self.processes.append(process)
        return process

    def start(self) -> SessionCluster:
        """The JobManager, answering."""
        self.run("jobmanager.sh")
        assert eventually(self._answers), (self.folder / "jobmanager.sh.out").read_text()[-3000:]
        return self

    def _answers(self) -> bool:
        try:
            urllib.request.urlopen(f"http://{self.rest}/overview", timeout=PATIENCE_S).close()
        except (urllib.error.URLError, OSError):
            return False
        return True

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """`kill -9`, the script and its Java."""
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(PATIENCE_S)

    def end(self) -> None:
        """End whatever runs."""
        for process in self.processes:
            if process.poll() is None:
                self.kill(process)

    def said(self) -> str:
        """What its processes said at last."""
        return "\n".join(path.read_text()[-3000:] for path in sorted(self.folder.glob("*.out")))
