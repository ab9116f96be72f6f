"""Plans of clusters: what keeps them apart, and which are refused."""

import ipaddress
import itertools
from pathlib import Path

import pytest

from tests.cluster.configuration import containerd_configuration, kubelet_configuration
from tests.cluster.errors import ClusterError
from tests.cluster.groups import hierarchies
from tests.cluster.installing import link_flags, required_version
from tests.cluster.plan import HIGHEST_NUMBER, LOWEST_NUMBER, Plan, problem_with
from tests.cluster.programs import cluster_programs

FOLDER = Path("/tmp/some/cluster")


def test_addresses_of_a_plan_are_in_its_network_and_in_one_part_of_it() -> None:
    plan = Plan(FOLDER, 31)
    pods, services = ipaddress.IPv4Network(plan.pods), ipaddress.IPv4Network(plan.services)
    link = ipaddress.IPv4Interface(f"{plan.host}/30").network
    whole = ipaddress.IPv4Network(plan.network)

    assert all(part.subnet_of(whole) for part in (pods, services, link))
    assert not any(one.overlaps(other) for one, other in itertools.combinations((pods, services, link), 2))
    assert ipaddress.IPv4Address(plan.node) in link
    assert ipaddress.IPv4Address(plan.bridge_address) in pods
    assert ipaddress.IPv4Address(plan.api_service) in services


def test_two_numbers_share_no_name_and_no_address() -> None:
    one, other = Plan(FOLDER, 22), Plan(FOLDER, 23)

    assert one.name != other.name
    assert not ipaddress.IPv4Network(one.network).overlaps(ipaddress.IPv4Network(other.network))
    assert one.loopback != other.loopback


def test_name_of_a_plan_fits_an_interface() -> None:
    assert all(len(Plan(FOLDER, number).name) <= 15 for number in (LOWEST_NUMBER, HIGHEST_NUMBER))


@pytest.mark.parametrize(
    ("plan", "problem"),
    [
        (Plan(FOLDER, 15), "from 16 to 99, not 15"),
        (Plan(FOLDER, 100), "from 16 to 99, not 100"),
        (Plan(Path("/" + "long/" * 20)), "has 100 characters"),
    ],
)
def test_plan_that_cannot_work_is_refused_with_the_option_that_mends_it(plan: Plan, problem: str) -> None:
    told = problem_with(plan)

    assert told is not None and problem in told and "--" in told


def test_ordinary_plan_has_no_problem() -> None:
    assert problem_with(Plan(FOLDER)) is None


def test_nothing_of_a_cluster_listens_on_every_address() -> None:
    plan = Plan(FOLDER)
    flags = " ".join(flag for program in cluster_programs(plan, Path) for flag in program.command)

    assert "0.0.0.0" not in flags + kubelet_configuration(plan)
    assert f"--bind-address={plan.host}" in flags


def test_all_that_a_cluster_keeps_is_in_its_folder() -> None:
    text = containerd_configuration(Plan(FOLDER), snapshotter="native")

    paths = [line.partition(" = ")[2].strip('"') for line in text.splitlines() if line.startswith(("root", "state", "address", "Root"))]
    assert len(paths) == 4
    assert all(path.startswith(f"{FOLDER}/") for path in paths)


def test_version_is_the_one_that_the_module_requires() -> None:
    go_mod = "module x\n\ngo 1.24.0\n\nrequire k8s.io/kubernetes v1.34.4\n\nrequire (\n\tk8s.io/api v0.34.4\n)\n"

    assert required_version(go_mod, "k8s.io/kubernetes") == "1.34.4"
    with pytest.raises(ClusterError, match="does not require k8s.io/api in a line of its own"):
        required_version(go_mod, "k8s.io/api")


def test_programs_are_told_their_version() -> None:
    assert "-X k8s.io/component-base/version.gitVersion=v1.34.4" in link_flags("1.34.4")
    assert "-X k8s.io/component-base/version.gitMinor=34" in link_flags("1.34.4")


def test_hierarchies_of_a_hybrid_machine_are_found_once_each() -> None:
    mounts = (
        "tmpfs /sys/fs/cgroup tmpfs rw,relatime,mode=755 0 0\n"
        "cgroup /sys/fs/cgroup/cpu cgroup rw,relatime,cpu 0 0\n"
        "cgroup /other/cpu cgroup rw,cpu 0 0\n"
        "cgroup /sys/fs/cgroup/systemd cgroup rw,relatime,name=systemd 0 0\n"
        "cgroup2 /sys/fs/cgroup/unified cgroup2 rw,relatime 0 0\n"
    )

    assert [str(path) for path in hierarchies(mounts)] == ["/sys/fs/cgroup/cpu", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified"]


def test_version_2_has_one_hierarchy() -> None:
    assert hierarchies("cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid,nodev,noexec,relatime,nsdelegate,memory_recursiveprot 0 0\n") == [Path("/sys/fs/cgroup")]
