"""Which branch holds an asset, and which folder a partition of it: the way back from the translator's keys."""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import dagster as dg

import pachyderm_dagster.integration.labels as labels
from pachyderm_dagster.codec import digest
from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.pfs.model import DEFAULT_BRANCH, DEFAULT_PROJECT, BranchName, RepoName, checked_branch_name, checked_project_name, checked_repo_name
from pachyderm_dagster.pfs.paths import GLOB_CHARACTERS, ROOT
from pachyderm_dagster.pfs.references import parse_reference, parse_repo

_ENCODED = re.compile(rf"[\x00-\x1f\x7f-\x9f/%{re.escape(GLOB_CHARACTERS)}]")
_PIN_TAG = re.compile(r"[^A-Za-z0-9_.-]")


@dataclass(frozen=True, slots=True)
class AssetStorage:
    """How assets are kept, as a user said it.

    Args:
        project: of assets whose key has one part.
        repos: by asset key, `project/repo`, the branch of those that are elsewhere than their key says, `[project/]repo[@branch]`.
        write_branch: where everything is written; empty for each asset's own branch.
        read_branches: where an asset is looked for, in this order, before its own branch.
        pins: by asset key, the commit that is read instead of the newest.
    """

    project: str = DEFAULT_PROJECT
    repos: Mapping[str, str] = field(default_factory=dict)
    write_branch: str = ""
    read_branches: tuple[str, ...] = ()
    version_by: Literal["commit", "content"] = "commit"
    pins: Mapping[str, str] = field(default_factory=dict)
    allow_pickle: bool = False

    def own_branch(self, key: dg.AssetKey, metadata: Mapping[str, object]) -> BranchName:
        """The branch that is the asset: as `repos` says, else as the asset's metadata says, else as its key does.

        Raises:
            InvalidError: `asset-unmapped`, `name-invalid`, `reference-invalid`.
        """
        named = self.repos.get(key.to_user_string())
        if named is not None:
            found = parse_reference(named, project=self.project)
            return BranchName(found.repo, DEFAULT_BRANCH if found.ref is None else found.branch().name)
        repo, branch = metadata.get(labels.REPO), metadata.get(labels.BRANCH)
        if repo is not None:
            return BranchName(parse_repo(_text(repo), project=self.project), checked_branch_name(_text(branch or DEFAULT_BRANCH)))
        return branch_of_key(key, project=self.project)

    def written_branch(self, own: BranchName) -> BranchName:
        """Where an asset is written."""
        return BranchName(own.repo, checked_branch_name(self.write_branch)) if self.write_branch else own

    def branches_to_read(self, own: BranchName) -> list[BranchName]:
        """Where an asset is looked for, in order: what is written is read first unless `read_branches` says otherwise, the asset's own branch comes last."""
        names = self.read_branches or ((self.write_branch,) if self.write_branch else ())
        return list(dict.fromkeys([*(BranchName(own.repo, checked_branch_name(name)) for name in names), own]))

    def find_pin(self, key: dg.AssetKey, tags: Mapping[str, str]) -> str | None:
        """The commit to which a run pins an asset, in its configuration or by a tag."""
        return self.pins.get(key.to_user_string()) or tags.get(pin_tag(key))


def branch_of_key(key: dg.AssetKey, *, project: str) -> BranchName:
    """The branch whose asset has this key, as `translator.branch_key` gives it: `repo`, `project/repo` or `project/branch/repo`.

    Raises:
        InvalidError: `asset-unmapped`, when the key cannot be one of these.
    """
    match key.path:
        case [repo]:
            parts = project, DEFAULT_BRANCH, repo
        case [project, repo]:
            parts = project, DEFAULT_BRANCH, repo
        case [project, branch, repo]:
            parts = project, branch, repo
        case _:
            raise _unmapped(key, "it has more than three parts")
    try:
        return BranchName(RepoName(checked_project_name(parts[0]), checked_repo_name(parts[2])), checked_branch_name(parts[1]))
    except InvalidError as error:
        raise _unmapped(key, error.message) from error


def pin_tag(key: dg.AssetKey) -> str:
    """The run tag that pins an asset: `pachyderm/input.` and the parts of its key with dots between them."""
    return labels.PIN_PREFIX + _PIN_TAG.sub("_", ".".join(key.path))


def partition_folder(partition: str | None) -> str:
    """The directory of a partition; of an asset without partitions the root.

    What no path may hold is written as `%` and hex digits, so that different keys have different folders.
    """
    if partition is None:
        return ROOT
    text = _ENCODED.sub(lambda found: _percent(found.group()), partition)
    if unicodedata.normalize("NFC", text) != text:
        # Two keys may look the same; a path can only be one of them.
        text = "".join(one if one.isascii() else _percent(one) for one in text)
    if text in ("", ".", ".."):
        text = "%" if not text else text.replace(".", "%2E")
    return ROOT + text


def output_id(*, run_id: str, step_key: str, output: str, branch: BranchName, partitions: tuple[str, ...]) -> str:
    """The id of the commit that an output of a run makes: the same for each attempt at the step, in the form of any commit's id."""
    parts = run_id, step_key, output, str(branch), *partitions
    text = digest("dagster-output", [part.encode() for part in parts])[:16].hex()
    # Version 4 and its variant, as ids have them.
    return f"{text[:12]}4{text[13:16]}8{text[17:]}"


def _percent(text: str) -> str:
    return "".join(f"%{byte:02X}" for byte in text.encode())


def _text(value: object) -> str:
    """A text, or Dagster's metadata value of one."""
    return str(value.value if isinstance(value, dg.MetadataValue) else value)


def _unmapped(key: dg.AssetKey, why: str) -> InvalidError:
    name = key.to_user_string()
    return InvalidError(
        "asset-unmapped",
        f"asset {name!r} names no branch: {why}; say where it is kept with `repos: {{{name}: REPO@BRANCH}}` on the IO manager, or with metadata "
        f"{labels.REPO!r} on the asset",
    )
