"""The record: SQLAlchemy tables, migrations, transactions."""
