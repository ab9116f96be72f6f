"""Runs datums: stages /pfs, runs the command, collects /pfs/out."""
