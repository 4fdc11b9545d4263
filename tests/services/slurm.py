"""A private Slurm of several nodes on one machine, from Debian's packages.

No systemd, no cgroups, loopback only, its own munge key and ports. Everything lives in one folder
and every daemon is stopped by the process number it wrote there.

    python tests/services/slurm.py FOLDER     # up until Enter is pressed
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

DAEMONS = ("munged", "slurmctld", "slurmd")
DEFAULT_CONF = Path("/etc/slurm/slurm.conf")
"""The executor plugin takes SLURM_CONF out of its jobs' environment: this place must work."""

CPUS = 2
MEMORY_MB = 4000
CONTROLLER_PORT = 26817
FIRST_NODE_PORT = 27001

CONF = """\
ClusterName=ctcohort
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket,cred_expire=10
CredType=cred/munge
SlurmctldPort={port}
SlurmctldPidFile={folder}/run/slurmctld.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmctldParameters=enable_configless
SlurmdPidFile={folder}/run/%n.pid
SlurmdLogFile={folder}/log/%n.log
SlurmdSpoolDir={folder}/spool/%n
SlurmdParameters=config_overrides
StateSaveLocation={folder}/state
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SchedulerParameters=bf_interval=5,sched_min_interval=0,batch_sched_delay=0
MinJobAge=600
SlurmdTimeout=10
KillWait=5
ReturnToService=2
NodeName=n[1-{nodes}] NodeHostname={host} NodeAddr=127.0.0.1 Port=[{first}-{last}] \
CPUs={cpus} RealMemory={memory} State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES DefMemPerCPU=500 MaxTime=1-00:00:00 State=UP
PartitionName=short Nodes=ALL DefMemPerCPU=500 MaxTime=00:30:00 State=UP
"""


def why_not() -> str:
    """Why Slurm cannot be started here; empty if it can."""
    if os.geteuid() != 0:
        return "needs root, to start Slurm's daemons"
    missing = [name for name in DAEMONS if _which(name) is None]
    if missing:
        return f"needs Debian's slurm-wlm and munge ({', '.join(missing)} not found)"
    if DEFAULT_CONF.exists():
        return f"{DEFAULT_CONF} exists: this machine has a Slurm of its own"
    return ""


@dataclass(frozen=True)
class Cluster:
    """A running Slurm: its nodes, and the processors and MB of each, be they there or not."""

    folder: Path
    nodes: int
    cpus: int
    memory_mb: int

    def run(self, *command: str | Path, check: bool = True) -> str:
        """Standard output of one of Slurm's commands."""
        return subprocess.run(
            command, check=check, capture_output=True, text=True, timeout=60
        ).stdout

    def jobs(self, *, states: str = "all") -> list[dict[str, str]]:
        """Every job that Slurm remembers: id, name, state, node, start, end, time limit, memory,
        comment."""
        keys = ("id", "name", "state", "node", "start", "end", "limit", "memory", "comment")
        text = self.run("squeue", "-h", "-r", "-t", states, "-o", "%i|%j|%T|%N|%S|%e|%l|%m|%k")
        return [dict(zip(keys, line.split("|"), strict=True)) for line in text.splitlines()]

    def start_node(self, name: str) -> None:
        (self.folder / "spool" / name).mkdir(parents=True, exist_ok=True)
        subprocess.run([_which("slurmd"), "-N", name, "-f", self.folder / "slurm.conf"], check=True)

    def lose_node(self, name: str) -> None:
        """Kill a node as a power failure would: its daemon and every process of its jobs."""
        jobs = self.run("squeue", "-h", "-w", name, "-t", "running", "-o", "%A").split()
        _stop(self.folder / "run" / f"{name}.pid", signal.SIGKILL)
        _kill_steps(jobs)

    def drain(self) -> None:
        """Cancel what runs, start lost nodes, and wait until every node is idle."""
        self.run("scancel", "-u", "root", check=False)
        for name in (f"n{number}" for number in range(1, self.nodes + 1)):
            if not _alive(self.folder / "run" / f"{name}.pid"):
                self.start_node(name)
        _until(lambda: self.idle() == self.nodes, 60, "idle nodes")

    def idle(self) -> int:
        """How many nodes are idle; each is listed once per partition."""
        return len(set(self.run("sinfo", "-h", "-N", "-t", "idle", "-o", "%N").split()))


@contextlib.contextmanager
def cluster(
    folder: Path, *, nodes: int = 3, cpus: int = CPUS, memory_mb: int = MEMORY_MB
) -> Iterator[Cluster]:
    """Start Slurm in `folder`; stop all of it whatever happens."""
    here = Cluster(folder, nodes, cpus, memory_mb)
    try:
        _up(here)
        yield here
    except BaseException:
        for log in sorted((folder / "log").glob("*.log")):
            print(f"--- {log.name}\n{log.read_text()[-1500:]}", file=sys.stderr)
        raise
    finally:
        _down(here)


def _up(here: Cluster) -> None:
    folder, host = here.folder, socket.gethostname().split(".")[0]
    for name in ("run", "log", "state", "spool", "munge"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for place in (folder, folder / "munge"):  # munged insists on a path that others cannot change
        place.chmod(0o755)
    conf = folder / "slurm.conf"
    conf.write_text(
        CONF.format(
            host=host,
            folder=folder,
            port=CONTROLLER_PORT,
            first=FIRST_NODE_PORT,
            last=FIRST_NODE_PORT + here.nodes - 1,
            nodes=here.nodes,
            cpus=here.cpus,
            memory=here.memory_mb,
        )
    )
    DEFAULT_CONF.parent.mkdir(parents=True, exist_ok=True)
    if DEFAULT_CONF.is_symlink():  # why_not saw that nothing is behind it
        DEFAULT_CONF.unlink()
    DEFAULT_CONF.symlink_to(conf)
    munge = folder / "munge"
    (munge / "key").write_bytes(secrets.token_bytes(128))
    (munge / "key").chmod(0o600)
    subprocess.run(
        [
            _which("munged"),
            "--force",
            f"--key-file={munge}/key",
            f"--socket={munge}/socket",
            f"--pid-file={folder}/run/munged.pid",
            f"--log-file={folder}/log/munged.log",
            f"--seed-file={munge}/seed",
        ],
        check=True,
    )
    subprocess.run([_which("slurmctld"), "-f", conf], check=True)
    _until(lambda: "UP" in here.run("scontrol", "ping", check=False), 30, "an answer of slurmctld")
    for number in range(1, here.nodes + 1):
        here.start_node(f"n{number}")
    _until(lambda: here.idle() == here.nodes, 60, "idle nodes")


def _down(here: Cluster) -> None:
    run = here.folder / "run"
    remaining: list[str] = []
    if (run / "slurmctld.pid").exists():
        with contextlib.suppress(subprocess.TimeoutExpired):
            here.run("scancel", "-u", "root", check=False)
            _until(lambda: not here.jobs(states="running,completing"), 15, "")
            remaining = [job["id"] for job in here.jobs(states="running,completing")]
    for pid_file in sorted(run.glob("n*.pid")):
        _stop(pid_file)
    _stop(run / "slurmctld.pid")
    _kill_steps(remaining)
    _stop(run / "munged.pid")
    if DEFAULT_CONF.is_symlink() and DEFAULT_CONF.readlink() == here.folder / "slurm.conf":
        DEFAULT_CONF.unlink()


def _which(name: str) -> str | None:
    return shutil.which(name, path=f"/usr/sbin:/sbin:{os.environ.get('PATH', os.defpath)}")


def _until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            if not what:
                return
            raise TimeoutError(f"waited {seconds:g} s for {what}")
        time.sleep(0.2)


def _alive(pid_file: Path) -> bool:
    """Whether the daemon that wrote `pid_file` still runs (and its number is not another's)."""
    try:
        name, state, _ = _process(int(pid_file.read_text()))
    except (OSError, ValueError):
        return False
    return name in DAEMONS and state != "Z"


def _stop(pid_file: Path, how: signal.Signals = signal.SIGTERM) -> None:
    if _alive(pid_file):
        process = int(pid_file.read_text())
        os.kill(process, how)
        _until(lambda: not _alive(pid_file), 10, "")
        if _alive(pid_file):
            os.kill(process, signal.SIGKILL)
    pid_file.unlink(missing_ok=True)


def _kill_steps(jobs: list[str]) -> None:
    """Kill the step daemons of `jobs` and everything below them."""
    if not jobs:
        return
    children: dict[int, list[int]] = {}
    doomed = []
    for process in [int(place.name) for place in Path("/proc").iterdir() if place.name.isdigit()]:
        with contextlib.suppress(OSError):
            _, _, parent = _process(process)
            children.setdefault(parent, []).append(process)
            title = Path(f"/proc/{process}/cmdline").read_bytes().decode(errors="replace")
            if any(title.startswith(f"slurmstepd: [{job}.") for job in jobs):
                doomed.append(process)
    for process in doomed:  # grows while it is walked
        doomed += children.get(process, [])
    for process in doomed:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


def _process(number: int) -> tuple[str, str, int]:
    """Name, state and parent of a process (proc(5), stat)."""
    text = Path(f"/proc/{number}/stat").read_text()
    name, rest = text[text.index("(") + 1 : text.rindex(")")], text[text.rindex(")") + 2 :].split()
    return name, rest[0], int(rest[1])


if __name__ == "__main__":
    if why_not():
        sys.exit(why_not())
    with cluster(Path(sys.argv[1]).resolve()) as slurm:
        print(slurm.run("sinfo", "-N", "-l"))
        input("Enter stops it ")
