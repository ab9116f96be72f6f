-- What the workflows read, from the wines of ../wines: psql "$DATABASE" -f definitions/workflows/winery.sql, at the root of the repository.
\set ON_ERROR_STOP on
\ir ../wines/database/tables.sql
\copy wines FROM 'definitions/wines/data/wines.csv' WITH (FORMAT csv, HEADER)
UPDATE wines SET kind = NULL WHERE id > 150;
-- What is to be tried, and what comes of it.
CREATE TABLE experiments (
    name TEXT PRIMARY KEY,
    rounds INTEGER NOT NULL,
    rate DOUBLE PRECISION NOT NULL,
    decay DOUBLE PRECISION NOT NULL
);
INSERT INTO experiments VALUES ('short', 20, 0.5, 0), ('long', 500, 0.5, 0), ('decaying', 500, 0.5, 0.03), ('careful', 500, 0.01, 0);
CREATE TABLE weights (
    experiment TEXT NOT NULL REFERENCES experiments (name),
    measurement TEXT NOT NULL,
    weight DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (experiment, measurement)
);
