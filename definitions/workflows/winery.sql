-- What the workflows read, from the wines of ../wines: psql "$DATABASE" -f definitions/workflows/winery.sql, at the root of the repository.
\set ON_ERROR_STOP on
\ir ../wines/database/tables.sql
\copy wines FROM 'definitions/wines/data/wines.csv' WITH (FORMAT csv, HEADER)
UPDATE wines SET kind = NULL WHERE id > 150;
