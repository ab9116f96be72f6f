"""Repos, branches, commits, provenance, files, globs, diffs."""
