"""What a home answers to everything that it can be asked for."""

import json

from tests.cli.pachctl import Pachctl

ASKED = (
    ("list", "project"),
    ("list", "repo", "--all"),
    ("list", "commit"),
    ("list", "pipeline"),
    ("list", "job"),
    ("list", "transaction"),
    ("inspect", "cluster"),
)
ELSEWHERE = {"home", "record", "storage"}


def answers(pachctl: Pachctl) -> dict[str, object]:
    """The answers, by what was asked."""
    found: dict[str, object] = {" ".join(words): pachctl.json(*words) for words in ASKED}
    for (document,) in [pachctl.json("inspect", "cluster")]:
        found["inspect cluster"] = {name: value for name, value in document.items() if name not in ELSEWHERE}
    for repo in pachctl.json("list", "repo"):
        name = repo["name"]
        found[f"branches of {name}"] = pachctl.json("list", "branch", name)
        for commit in pachctl.json("list", "commit", name):
            place = f"{name}@{commit['id']}"
            found[place] = commit
            if commit["finished"] is not None:
                found[f"files of {place}"] = pachctl.json("glob", "file", f"{place}:/**")
                found[f"changes of {place}"] = pachctl.json("diff", "file", f"{place}:/")
    for pipeline in pachctl.json("list", "pipeline"):
        name = pipeline["name"]
        found[f"pipeline {name}"] = pachctl.json("inspect", "pipeline", name)
        for job in pachctl.json("list", "job", "-p", name):
            place = f"{name}@{job['id']}"
            found[f"job {place}"] = pachctl.json("inspect", "job", place)
            found[f"datums of {place}"] = pachctl.json("list", "datum", place)
            found[f"logs of {place}"] = pachctl("logs", "--job", place).out
    parsed: dict[str, object] = json.loads(json.dumps(found))
    return parsed
