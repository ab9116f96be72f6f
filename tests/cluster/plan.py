"""Where a test cluster's parts are: everything follows from its folder and its number, so that clusters with other ones run side by side."""

from dataclasses import dataclass
from pathlib import Path

LOWEST_NUMBER, HIGHEST_NUMBER = 16, 99
DEFAULT_NUMBER = 22
LONGEST_FOLDER = 60
"""A socket's path has at most 107 bytes, and the kubelet's is the longest below the folder."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A cluster with one node. The control plane is on the machine itself; the node, which runs pods, has a network and mounts of its own."""

    folder: Path
    number: int = DEFAULT_NUMBER

    @property
    def name(self) -> str:
        """The name of the machine's end of the link to the node, of the node's network and of the control group of everything that runs."""
        return f"pachyderm-{self.number}"

    @property
    def network(self) -> str:
        return f"10.{self.number}.0.0/16"

    @property
    def pods(self) -> str:
        return f"10.{self.number}.0.0/18"

    @property
    def bridge_address(self) -> str:
        """The node's on the pods' bridge: their way out."""
        return f"10.{self.number}.0.1"

    @property
    def services(self) -> str:
        return f"10.{self.number}.128.0/20"

    @property
    def api_service(self) -> str:
        return f"10.{self.number}.128.1"

    @property
    def host(self) -> str:
        """The address at which pods reach the machine."""
        return f"10.{self.number}.255.1"

    @property
    def node(self) -> str:
        return f"10.{self.number}.255.2"

    @property
    def loopback(self) -> str:
        """Where what pods must not reach listens."""
        return f"127.{self.number}.0.1"

    @property
    def server(self) -> str:
        """The API server's URL, from the machine and from pods."""
        return f"https://{self.host}:6443"

    @property
    def etcd(self) -> str:
        return f"http://{self.loopback}:2379"

    @property
    def kubeconfig(self) -> Path:
        """Of who may do everything."""
        return self.kubeconfig_of("admin")

    @property
    def containerd_socket(self) -> Path:
        return self.folder / "containerd.sock"

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    @property
    def namespace_file(self) -> Path:
        """Holds the node's mounts; a mount itself, in a folder that is one, because namespaces can only be kept below private mounts."""
        return self.folder / "namespaces" / "mount"

    @property
    def network_file(self) -> Path:
        """Holds the node's network; made by `ip netns add`."""
        return Path("/run/netns") / self.name

    def kubeconfig_of(self, user: str) -> Path:
        return self.folder / f"{user}.kubeconfig"

    def certificate(self, name: str) -> Path:
        return self.folder / "certificates" / f"{name}.crt"

    def key(self, name: str) -> Path:
        return self.folder / "certificates" / f"{name}.key"

    def configuration(self, name: str) -> Path:
        return self.folder / "configuration" / name


def problem_with(plan: Plan) -> str | None:
    """Why no cluster can be made by this plan, with the next step; None where one can."""
    if not LOWEST_NUMBER <= plan.number <= HIGHEST_NUMBER:
        return f"a cluster's number, the second byte of its addresses, is from {LOWEST_NUMBER} to {HIGHEST_NUMBER}, not {plan.number}; choose another: --number"
    length = len(str(plan.folder))
    if length > LONGEST_FOLDER:
        return f"the path {plan.folder} has {length} characters, too many for the sockets below it; choose a folder with at most {LONGEST_FOLDER}: --folder"
    return None
