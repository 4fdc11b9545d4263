"""A stub of three schedulers' commands: bsub, bjobs, bkill of LSF; qsub, qstat, qacct, qdel of Grid
Engine and PBS.

A job runs at once, in an empty environment and another folder, as jobs do where a site cleans the
environment. A job whose script names what is in `kill` ends as a scheduler would end it.

    scheduler.py STATE COMMAND KIND ARGUMENTS...
"""

import os
import subprocess
import sys
from pathlib import Path

ENDED = {
    "lsf": "TERM_RUNLIMIT: job killed after reaching LSF run time limit.",
    "pbs": "=>> PBS: job killed: walltime 7300 exceeded limit 7200",
    "sge": "",
}


def submit(state: Path, kind: str, arguments: list[str]) -> None:
    number = str(len(list(state.glob("*.asked"))) + 1)
    (state / f"{number}.asked").write_text("\n".join(arguments))
    target = arguments[arguments.index("-o") + 1]
    names = {"lsf": target.replace("%J", number), "sge": target.replace("$JOB_ID", number)}
    log = Path(names.get(kind, f"{target}/{number}.server.OU")).absolute()
    script = Path(arguments[-1])
    doomed = state / "kill"
    if doomed.exists() and doomed.read_text() in script.read_text():
        log.write_text(ENDED[kind] + "\n")
        status = 137
    else:
        with open(log, "wb") as stream:
            done = subprocess.run(
                ["/bin/sh", script], env={}, cwd="/", stdout=stream, stderr=stream, check=False
            )
        status = done.returncode
    (state / f"{number}.status").write_text(str(status))
    print({"lsf": f"Job <{number}> is submitted to queue <normal>.", "sge": number}.get(
        kind, f"{number}.server"
    ))  # fmt: skip


def tell(state: Path, command: str, number: str) -> None:
    status = (state / f"{number.partition('.')[0]}.status").read_text()
    if command == "bjobs":
        print("DONE" if status == "0" else "EXIT")
    elif command == "qacct":
        print(f"jobnumber    {number}\nfailed       0\nexit_status  {status}")
    else:
        print(f"Job Id: {number}\n    job_state = F\n    Exit_status = {status}")


def main() -> None:
    state, command, kind, *arguments = sys.argv[1:]
    if command in ("bsub", "qsub"):
        submit(Path(state), kind, arguments)
    elif command == "qstat" and kind == "sge":
        sys.exit("Following jobs do not exist")
    elif command not in ("bkill", "qdel"):
        tell(Path(state), command, arguments[-1])


def install(folder: Path, kind: str) -> dict[str, str]:
    """Put the commands into a folder; return the environment in which they are found."""
    commands = {"lsf": ("bsub", "bjobs", "bkill"), "pbs": ("qsub", "qstat", "qdel")}
    (folder / "bin").mkdir(parents=True)
    for name in commands.get(kind, ("qsub", "qstat", "qacct", "qdel")):
        place = folder / "bin" / name
        place.write_text(
            f'#!/bin/sh\nexec {sys.executable} {__file__} {folder} {name} {kind} "$@"\n'
        )
        place.chmod(0o755)
    return {"PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"}


if __name__ == "__main__":
    main()
