"""A real SLURM cluster on this machine: a controller and nodes, each a host of its own.

A host is a set of Linux namespaces: its own name, network, processes and /etc/hosts, on a file system
that all share, as on a cluster with a shared home. The hosts' cables end in a bridge of the controller's,
so the machine's own network sees nothing of them. SIGKILL of a host's first process is a power cut.

Needs root, and Debian's slurmctld, slurmd, slurm-client, munge and iproute2.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Self

PROGRAMS = ("slurmctld", "slurmd", "sbatch", "munged", "ip", "unshare", "nsenter", "setpriv")
FREEZER = Path("/sys/fs/cgroup/freezer")  # with it SLURM tracks processes as clusters do
NODE_SECONDS = 20  # without an answer: a node is down
KILL_SECONDS = 20  # from SIGTERM to SIGKILL
GRACE_SECONDS = 20  # from a preemption's SIGTERM to SIGKILL
GPUS = 2  # that each node claims to have
ENDED = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "PREEMPTED", "BOOT_FAIL")

CONF = """
ClusterName=lab
SlurmctldHost=ctl({ctl})
SlurmUser=root
SlurmdUser=root
# a requeued job is held back for cred_expire + 1 seconds; below 5 it is taken for 120
AuthType=auth/munge
AuthInfo=socket={home}/munge/socket,cred_expire=5
StateSaveLocation={home}/ctl
SlurmdSpoolDir={home}/%n
SlurmctldPidFile={home}/ctl.pid
SlurmdPidFile={home}/%n.pid
SlurmctldLogFile={home}/slurmctld.log
SlurmdLogFile={home}/slurmd.%n.log
ProctrackType=proctrack/{proctrack}
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MinJobAge=3600
MpiDefault=none
MailProg=/bin/true
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
GresTypes=gpu
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0,sched_interval=2,bf_interval=2
# the nodes have what is written here, whatever the hardware has
SlurmdParameters=config_overrides
# with 2, SLURM takes no notice of a node that crashed and came back, and its jobs hang
ReturnToService=1
SlurmdTimeout={node_seconds}
KillWait={kill_seconds}
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PartitionName=main Nodes=ALL Default=YES PriorityTier=5 PreemptMode=OFF
PartitionName=low Nodes=ALL PriorityTier=1 PreemptMode=REQUEUE GraceTime={grace_seconds}
PartitionName=high Nodes=ALL PriorityTier=10 PreemptMode=OFF
"""

# a host's first process: it reaps what its daemon leaves behind, as init does
INIT = """
hostname {host}
mount --bind {home}/hosts /etc/hosts
[ ! -e /etc/nsswitch.conf ] || mount --bind {home}/nsswitch.conf /etc/nsswitch.conf
if [ {proctrack} = cgroup ]; then
  mkdir -p {freezer} && mount --bind {freezer} {all_freezers} || exit 1
fi
{daemon} &
wait $!
"""


def missing() -> str:
    """Why there can be no cluster here; empty if there can."""
    absent = [name for name in PROGRAMS if shutil.which(name, path=_path()) is None]
    if absent:
        return f"not installed: {', '.join(absent)}"
    return "" if os.getuid() == 0 else "a cluster can only be set up by root"


def _path() -> str:
    return f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


class Cluster:
    """Up while it is entered.

    Args:
        name: of the cluster; one of a name at a time.
        nodes: how many, node1 and so on.
        proctrack: cgroup or linuxproc, how SLURM finds a job's processes; what can be had if not given.
    """

    def __init__(self, name: str, nodes: int = 2, proctrack: str = "") -> None:
        self._name, self._nodes = name, [f"node{number + 1}" for number in range(nodes)]
        can = (FREEZER / "cgroup.procs").exists() and os.access(FREEZER / "cgroup.procs", os.W_OK)
        self.proctrack = proctrack or ("cgroup" if can else "linuxproc")
        # a socket's path has at most 107 characters
        self.home = Path(tempfile.mkdtemp(prefix="slurm", dir="/tmp"))
        self._hosts: dict[str, subprocess.Popen[bytes]] = {}
        self._touched: set[int] = set()  # nodes that a test has cut off, or is about to

    def __enter__(self) -> Self:
        try:
            self._drop_net()
            self._write_files()
            self._make_net()
            self._start_munge()
            self._start_host("ctl", "slurmctld -D")
            self._until(lambda: "is UP" in self._ask("scontrol", "ping"), "slurmctld answers")
            for node in self._nodes:
                self._start_host(node, f"slurmd -D -N {node}")
            self._until(lambda: self._count("idle") == len(self._nodes), "all nodes are ready")
        except BaseException:
            for log in sorted(self.home.glob("*.log")):
                print(f"--- {log.name}", "".join(log.read_text().splitlines(True)[-15:]), sep="\n")
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for host in list(self._hosts):
            self._kill(host)
        self._drop_net()
        deadline = time.monotonic() + 10
        while (
            self.home.exists() and time.monotonic() < deadline
        ):  # the daemons end a moment after their hosts
            shutil.rmtree(self.home, ignore_errors=True)
            time.sleep(0.1)

    def client(self, *command: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """A SLURM command, as given on a login host."""
        return subprocess.run(
            ["nsenter", f"--net=/run/netns/{self._name}-ctl", *command],
            env={**os.environ, "PATH": _path(), "SLURM_CONF": str(self.home / "slurm.conf"), **(env or {})},
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )

    def on(self, node: int, *command: str, output: Path) -> subprocess.Popen[bytes]:
        """A command on a node, as given there by somebody who has logged in."""
        shell = self._hosts[f"node{node}"].pid
        init = Path(f"/proc/{shell}/task/{shell}/children").read_text().split()[0]
        # not nsenter's --wd, which stays a directory of our mounts, out of which nothing can be renamed
        here = ["bash", "-c", 'cd "$0" && exec "$@"', str(Path.cwd())]
        with output.open("ab") as file:
            return subprocess.Popen(
                ["nsenter", f"--target={init}", "--all", *here, *command],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
            )

    def submit(
        self, script: Path, *args: str, options: Sequence[str] = (), env: dict[str, str] | None = None
    ) -> int:
        """Number of the job that runs the script."""
        given = {"PYTHON": sys.executable, **(env or {})}
        done = self.client("sbatch", "--parsable", *options, str(script), *args, env=given)
        assert done.returncode == 0, done.stderr
        return int(done.stdout.split(";")[0])

    def show(self, job: int | str) -> dict[str, str]:
        """What SLURM knows of a job."""
        words = self._ask("scontrol", "-o", "show", "job", str(job)).split()
        return dict(word.split("=", 1) for word in words if "=" in word)

    def state(self, job: int | str) -> str:
        """PENDING, RUNNING, COMPLETED, ..."""
        return self.show(job).get("JobState", "")

    def wait(self, job: int | str, *states: str, seconds: float) -> dict[str, str]:
        """Until the job is in one of the states, or has ended where none is given."""
        wanted, looked = states or ENDED, time.monotonic()

        def reached() -> bool:
            nonlocal looked
            state = self.state(job)
            if state == "PENDING" and time.monotonic() > looked + NODE_SECONDS:
                self.revive()
                looked = time.monotonic()
            return state in wanted

        self._until(reached, f"job {job} is {' or '.join(wanted)}", seconds, self._say(job))
        return self.show(job)

    def cut_power(self, node: int) -> None:
        """All processes of the node are gone at once."""
        self._touched.add(node)
        self._kill(f"node{node}")

    def power_on(self, node: int) -> None:
        """The node boots, and is there for jobs again."""
        name = f"node{node}"
        self._start_host(name, f"slurmd -D -b -N {name}")
        self._until(lambda: self._answers(name), f"{name} answers")
        self._touched.discard(node)

    def unplug(self, node: int) -> None:
        """Pull the node's network cable."""
        self._touched.add(node)
        self._ip("-n", f"{self._name}-ctl", "link", "set", f"veth{node}", "down")

    def plug_in(self, node: int) -> None:
        """Put the cable back."""
        self._ip("-n", f"{self._name}-ctl", "link", "set", f"veth{node}", "up")
        # the controller asks a node that it has given up only every few minutes; a reload makes slurmd report
        reload = self.on(node, "pkill", "-HUP", "slurmd", output=self.home / "reload.log")
        assert reload.wait(timeout=10) == 0, (self.home / "reload.log").read_text()
        self._until(lambda: self._answers(f"node{node}"), f"node{node} answers")
        self._touched.discard(node)

    def revive(self) -> None:
        """Bring back all nodes but those that a test has cut off.

        This machine may have been too busy to answer; and a node that a test cut off and brought back
        may be given up once more for having booted.
        """
        for number, node in enumerate(self._nodes, start=1):
            if number not in self._touched and self._state(node).startswith("down"):
                self.on(number, "pkill", "-HUP", "slurmd", output=self.home / "reload.log").wait(timeout=10)
                self._until(partial(self._answers, node), f"{node} answers")

    def _answers(self, node: str) -> bool:
        state = self._state(node)
        if state.startswith("down") and not state.endswith("*"):
            self.client("scontrol", "update", f"NodeName={node}", "State=RESUME")  # the administrator's part
        return state in ("idle", "mixed", "allocated")

    def _state(self, node: str) -> str:
        return self._ask("sinfo", "-h", "-n", node, "-p", "main", "-o", "%T")

    def _ask(self, *command: str) -> str:
        return self.client(*command).stdout.strip()

    def _count(self, state: str) -> int:
        return self._ask("sinfo", "-h", "-N", "-p", "main", "-o", "%T").split().count(state)

    def _say(self, job: int | str) -> Callable[[], str]:
        def say() -> str:
            known = self.show(job)
            output = Path(known.get("StdOut", "/nowhere"))
            said = output.read_text()[-3000:] if output.exists() else "no output"
            nodes = self._ask("sinfo", "-h", "-N", "-o", "%N %T %E")
            return f"{known.get('JobState')} {known.get('Reason')}: {said}; {nodes}"

        return say

    def _until(
        self, reached: Callable[[], bool], what: str, seconds: float = 30.0, say: Callable[[], str] = str
    ) -> None:
        deadline = time.monotonic() + seconds
        while not reached():
            assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}; {say()}"
            time.sleep(0.1)

    def _address(self, host: str) -> str:
        return f"10.77.0.{254 if host == 'ctl' else host.removeprefix('node')}"

    def _write_files(self) -> None:
        home = self.home
        for folder in ("munge", "ctl", "gpu"):
            (home / folder).mkdir()
        (home / "munge").chmod(0o755)
        home.chmod(0o755)
        (home / "munge/key").write_bytes(os.urandom(1024))
        (home / "munge/key").chmod(0o600)
        hosts = [f"{self._address(host)} {host}" for host in ("ctl", *self._nodes)]
        (home / "hosts").write_text("\n".join(["127.0.0.1 localhost", *hosts]) + "\n")
        # there is no name server in there: what is not in hosts fails at once
        (home / "nsswitch.conf").write_text("hosts: files\n")
        conf = CONF.format(
            home=home,
            ctl=self._address("ctl"),
            proctrack=self.proctrack,
            node_seconds=NODE_SECONDS,
            kill_seconds=KILL_SECONDS,
            grace_seconds=GRACE_SECONDS,
        )
        nodes = [
            f"NodeName={node} NodeAddr={self._address(node)} CPUs=8 RealMemory=100000 Gres=gpu:{GPUS}"
            for node in self._nodes
        ]
        before, partitions = conf.split("PartitionName", 1)
        (home / "slurm.conf").write_text(f"{before}{chr(10).join(nodes)}\nPartitionName{partitions}")
        for number in range(GPUS):  # SLURM counts device files: twins of /dev/null
            os.mknod(home / f"gpu/nvidia{number}", 0o20666, os.makedev(1, 3))
        (home / "gres.conf").write_text(f"Name=gpu File={home}/gpu/nvidia[0-{GPUS - 1}]\n")
        if self.proctrack == "cgroup":
            (home / "cgroup.conf").write_text(
                "CgroupPlugin=cgroup/v1\nCgroupAutomount=no\nCgroupMountpoint=/sys/fs/cgroup\n"
            )

    def _ip(self, *args: str, check: bool = True) -> None:
        done = subprocess.run(["ip", *args], capture_output=True, text=True, check=False)
        assert not check or done.returncode == 0, f"ip {' '.join(args)}: {done.stderr}"

    def _make_net(self) -> None:
        centre = f"{self._name}-ctl"
        self._ip("netns", "add", centre)
        self._ip("-n", centre, "link", "set", "lo", "up")
        self._ip("-n", centre, "link", "add", "br0", "type", "bridge")
        self._ip("-n", centre, "addr", "add", f"{self._address('ctl')}/24", "dev", "br0")
        self._ip("-n", centre, "link", "set", "br0", "up")
        for number, node in enumerate(self._nodes, start=1):
            own, port = f"{self._name}-{node}", f"veth{number}"
            self._ip("netns", "add", own)
            self._ip("-n", own, "link", "set", "lo", "up")
            peer = ["peer", "name", "eth0", "netns", own]
            self._ip("-n", centre, "link", "add", port, "type", "veth", *peer)
            self._ip("-n", centre, "link", "set", port, "master", "br0", "up")
            self._ip("-n", own, "addr", "add", f"{self._address(node)}/24", "dev", "eth0")
            self._ip("-n", own, "link", "set", "eth0", "up")

    def _drop_net(self) -> None:
        for host in ("ctl", *self._nodes):
            self._ip("netns", "del", f"{self._name}-{host}", check=False)
            folders = sorted((FREEZER / f"{self._name}-{host}").rglob("*/"), reverse=True)
            for folder in (*folders, FREEZER / f"{self._name}-{host}"):
                with suppress(OSError):
                    folder.rmdir()

    def _start_munge(self) -> None:
        munge = self.home / "munge"
        files = [
            f"--{key}={munge / file}"
            for key, file in (
                ("key-file", "key"),
                ("socket", "socket"),
                ("pid-file", "pid"),
                ("log-file", "log"),
                ("seed-file", "seed"),
            )
        ]
        # --force: it dislikes a folder that others may write above its own, such as /tmp
        self._start("munge", ["munged", "--foreground", "--force", *files])
        self._until((munge / "socket").exists, "munge listens")

    def _start_host(self, host: str, daemon: str) -> None:
        init = INIT.format(
            host=host,
            home=self.home,
            proctrack=self.proctrack,
            freezer=FREEZER / f"{self._name}-{host}",
            all_freezers=FREEZER,
            daemon=daemon,
        )
        namespaces = ["unshare", "--uts", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        network = ["nsenter", f"--net=/run/netns/{self._name}-{host}"]
        self._start(host, [*network, *namespaces, "bash", "-c", init])

    def _start(self, name: str, command: list[str]) -> None:
        """A daemon that does not outlive this process."""
        with (self.home / f"{name}.log").open("ab") as log:
            self._hosts[name] = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *command],
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8"}
                | {"SLURM_CONF": str(self.home / "slurm.conf")},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _kill(self, host: str) -> None:
        process = self._hosts.pop(host)
        process.kill()  # and with it, by --kill-child, the host's first process, and so all of them
        process.wait()
