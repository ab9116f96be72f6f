"""The node's network and mounts: whatever pods add to either is gone with them.

    machine  10.N.255.1 ── 10.N.255.2  node  10.N.0.1 ── bridge ── 10.N.0.2, ...  pods

The machine routes 10.N.0.0/16 to the node, so that it reaches pods and services at their own addresses.
"""

from collections.abc import Sequence
from pathlib import Path

from tests.cluster.commands import run
from tests.cluster.errors import ClusterError
from tests.cluster.plan import Plan

UPLINK = "uplink"
OWN_FOLDERS = {"/var/lib/kubelet": "var-lib-kubelet", "/var/log/containers": "var-log-containers", "/run/containerd": "run-containerd"}
"""Paths that the node's programs write to whatever their settings say, with what is there instead."""

KERNEL_SETTINGS = ("vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops", "kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes")
"""What the kubelet insists on setting; on the node these are files, so that the machine's settings stay as they are."""


def make_node(plan: Plan) -> None:
    """Makes what is missing of the node's network and mounts."""
    if not plan.network_file.exists():
        _refuse_taken_network(plan)
        run(["ip", "netns", "add", plan.name])
    if not _link_exists(plan):
        _make_link(plan)
    if not _is_mount(plan.namespace_file):
        _make_mounts(plan)


def inside(plan: Plan, command: Sequence[str]) -> list[str]:
    """A command line that becomes another one on the node."""
    return ["nsenter", f"--net={plan.network_file}", f"--mount={plan.namespace_file}", "--", *command]


def remove_node(plan: Plan) -> None:
    """Nothing may run there any more."""
    if _link_exists(plan):
        run(["ip", "link", "delete", plan.name])
    if plan.network_file.exists():
        run(["ip", "netns", "delete", plan.name])
    for mount in (plan.namespace_file, plan.namespace_file.parent):
        while _is_mount(mount):
            run(["umount", mount])
    for folder in OWN_FOLDERS:
        try:
            Path(folder).rmdir()
        except OSError:
            pass  # It is in use by another cluster, or was there before.


def _refuse_taken_network(plan: Plan) -> None:
    taken = run(["ip", "-4", "route", "show", "root", plan.network]).strip()
    if taken:
        raise ClusterError(
            f"the network {plan.network} is in use on this machine:\n{taken}\nChoose another with --number, or take down the cluster that has it"
        )


def _is_mount(path: Path) -> bool:
    """Path.is_mount() does not know what is bound over a file, nor over a folder of the same file system."""
    return any(line.split()[1] == str(path) for line in Path("/proc/self/mounts").read_text().splitlines())


def _link_exists(plan: Plan) -> bool:
    return Path("/sys/class/net", plan.name).exists()


def _make_link(plan: Plan) -> None:
    on_node = ["ip", "-n", plan.name]
    run(["ip", "link", "add", plan.name, "type", "veth", "peer", "name", UPLINK, "netns", plan.name])
    run([*on_node, "address", "add", f"{plan.node}/30", "dev", UPLINK])
    run([*on_node, "link", "set", "lo", "up"])
    run([*on_node, "link", "set", UPLINK, "up"])
    run([*on_node, "route", "replace", "default", "via", plan.host])
    run(["nsenter", f"--net={plan.network_file}", "sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward"])
    run(["ip", "address", "add", f"{plan.host}/30", "dev", plan.name])
    run(["ip", "link", "set", plan.name, "up"])
    run(["ip", "route", "replace", plan.network, "via", plan.node])


def _make_mounts(plan: Plan) -> None:
    folder = plan.namespace_file.parent
    folder.mkdir(exist_ok=True)
    if not _is_mount(folder):
        run(["mount", "--bind", folder, folder])
        run(["mount", "--make-private", folder])
    plan.namespace_file.touch()
    steps = ["mount --make-rshared /"]
    for path, name in OWN_FOLDERS.items():
        (plan.folder / name).mkdir(exist_ok=True)
        Path(path).mkdir(parents=True, exist_ok=True)
        steps.append(f"mount --bind '{plan.folder / name}' {path}")
    settings = plan.folder / "kernel-settings"
    settings.mkdir(exist_ok=True)
    for number, path in enumerate(KERNEL_SETTINGS):
        (settings / str(number)).write_text(Path("/proc/sys", path).read_text())
        steps.append(f"mount --bind '{settings}/{number}' /proc/sys/{path}")
    run(["unshare", f"--mount={plan.namespace_file}", "--propagation", "private", "sh", "-ec", "\n".join(steps)])
