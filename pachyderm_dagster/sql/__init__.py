"""Databases of others: what pipelines load into them and read out of them. The record of a home is not here."""
