"""How branches of a lost record went on, as the records of their commits tell."""

from collections.abc import Collection, Mapping, Sequence

from pachyderm_dagster.pfs.commit_records import CommitRecord
from pachyderm_dagster.pfs.holdings import Key, Loss, Rebuilt, named
from pachyderm_dagster.pfs.model import RepoName, RepoType
from pachyderm_dagster.pfs.structure import StoredBranch


class BranchLines:
    """How branches went on.

    A write that was overtaken or killed leaves a record too, of a commit that was never made. Where several continue one commit, that is followed which
    others built upon; where that does not tell, the one that began last. Those that are left out are told as losses.
    """

    def __init__(self, records: Mapping[Key, CommitRecord], rebuilt: Rebuilt, built_upon: Collection[str]) -> None:
        self.records = records
        self.children: dict[tuple[int, str], dict[str | None, list[Key]]] = {}
        self._rebuilt = rebuilt
        self._made: set[Key] = set()
        for key in reversed(rebuilt.order):
            record = records[key]
            if key in self._made or named(record) in built_upon:
                self._made.add(key)
                if record.parent is not None:
                    self._made.add((key[0], record.parent))
        for key in rebuilt.order:
            label = records[key].branch
            if label is not None:
                self.children.setdefault((key[0], label), {}).setdefault(records[key].parent, []).append(key)

    def tip(self, branch: StoredBranch) -> Key | None:
        """The head of a branch: the one that the structure tells of, and what continued it since. Where it is lost, the newest of the branch's name."""
        place = branch.repo_id, branch.name
        head: Key | None = None
        if branch.head is not None:
            repo = self._rebuilt.repos[branch.repo_id]
            name = f"{RepoName(self._rebuilt.projects[repo.project_id].name, repo.name, RepoType(repo.type))}@{branch.name}"
            known = [id for id in (branch.head, branch.finished) if id is not None and (branch.repo_id, id) in self.records]
            if (branch.repo_id, branch.head) not in self.records:
                self._rebuilt.losses.append(_lost_head(branch, name))
            if not known:
                # The first commit of a branch that began anew, while it was open: what bears the name beside it was left behind.
                return None if branch.finished is None or place not in self.children else self.tip_of_unsaved(place)
            head = branch.repo_id, known[0]
        return self._follow(place, head, branch.passed)

    def tip_of_unsaved(self, place: tuple[int, str]) -> Key:
        """The head of a branch that only its commits tell of."""
        every_one = {key for keys in self.children[place].values() for key in keys}
        roots = [key for parent, keys in self.children[place].items() for key in keys if (place[0], parent) not in every_one]
        root = self._chosen(place, roots)
        return self._follow(place, root, ()) or root

    def _follow(self, place: tuple[int, str], head: Key | None, passed: Collection[str]) -> Key | None:
        children = self.children.get(place, {})
        while after := [key for key in children.get(None if head is None else head[1], ()) if key[1] not in passed]:
            head = self._chosen(place, after)
        return head

    def _chosen(self, place: tuple[int, str], rivals: Sequence[Key]) -> Key:
        best = max(rivals, key=lambda key: (key in self._made, self._rebuilt.commits[key]))
        self._rebuilt.losses += (_rival(self.records[key], self.records[best], place[1]) for key in rivals if key != best)
        return best


def _rival(left_out: CommitRecord, followed: CommitRecord, branch: str) -> Loss:
    name = named(left_out)
    return Loss(
        "rival-commit",
        f"commits '{name}' and '{followed.id}' both continue the same one on branch '{branch}', which goes on with the latter; the former is most likely of a "
        f"write that failed, otherwise read it and put what it holds again: `pachctl list file {name}:/`",
    )


def _lost_head(branch: StoredBranch, name: str) -> Loss:
    told = f"commit '{branch.head}', the head of branch '{name}',"
    if branch.head == branch.finished:
        return Loss("head-missing", f"{told} has no record in the store")
    lost = "it is made anew" if branch.provenance else "what was put into it is lost"
    return Loss("unfinished-commit", f"{told} was not finished: {lost}")
