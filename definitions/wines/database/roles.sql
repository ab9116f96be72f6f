-- PostgreSQL: one reads what the laboratory writes, the other replaces the predictions; neither can do more. Passwords: \password importer
CREATE ROLE importer LOGIN;
CREATE ROLE exporter LOGIN;
GRANT SELECT ON wines TO importer;
GRANT SELECT, INSERT, DELETE ON predictions TO exporter;
