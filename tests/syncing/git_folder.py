"""A repository of Git in which tests declare things."""

import subprocess
from pathlib import Path

PIPES = """# Two pipelines.
pipeline: {name: count}
input: {pfs: {repo: texts, glob: "/*"}}
transform: {cmd: [sh], stdin: ["wc -c /pfs/texts/* > /pfs/out/n"]}
---
pipeline: {name: sum}
input: {pfs: {repo: count, glob: "/"}}
transform: {cmd: [sh], stdin: ["cat /pfs/count/* > /pfs/out/n"]}
"""
TEMPLATE = """apiVersion: argoproj.io/v1alpha1
kind: WorkflowTemplate
metadata: {name: steps}
spec:
  entrypoint: hello
  arguments: {parameters: [{name: whom, value: world}]}
  templates:
  - name: hello
    container: {image: busybox, command: [echo, "hello {{workflow.parameters.whom}}"]}
"""
CRON = """apiVersion: argoproj.io/v1alpha1
kind: CronWorkflow
metadata: {name: nightly}
spec:
  schedules: ["0 3 * * *"]
  workflowSpec: {entrypoint: main, templates: [{name: main, steps: [[{name: a, templateRef: {name: steps, template: hello}}]]}],
    arguments: {parameters: [{name: whom, value: night}]}}
"""


class GitFolder:
    """The folder `prod` of a repository."""

    def __init__(self, root: Path) -> None:
        self.root, self.folder = root, root / "prod"
        self.folder.mkdir(parents=True)
        self._git("init", "--quiet", "--initial-branch=main")

    @property
    def source(self) -> str:
        return f"{self.root}@main:prod"

    def write(self, **texts: str | None) -> str:
        """Writes files, or removes those that are None, and commits that; `__` in a name is a dot, `_in_` a slash."""
        for name, text in texts.items():
            path = self.folder / name.replace("__", ".").replace("_in_", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            if text is None:
                path.unlink()
            else:
                path.write_text(text)
        return self.commit()

    def commit(self) -> str:
        self._git("add", "--all")
        self._git("commit", "--quiet", "--message=change")
        return self._git("rev-parse", "HEAD").strip()

    def _git(self, *words: str) -> str:
        who = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
        return subprocess.run(["git", "-C", str(self.root), *who, *words], check=True, capture_output=True, text=True).stdout
