-- What the laboratory writes, with an empty kind until somebody has tasted the wine, and what comes back.
CREATE TABLE wines (
    id INTEGER PRIMARY KEY,
    alcohol DOUBLE PRECISION NOT NULL,
    malic_acid DOUBLE PRECISION NOT NULL,
    ash DOUBLE PRECISION NOT NULL,
    alcalinity_of_ash DOUBLE PRECISION NOT NULL,
    magnesium DOUBLE PRECISION NOT NULL,
    total_phenols DOUBLE PRECISION NOT NULL,
    flavanoids DOUBLE PRECISION NOT NULL,
    nonflavanoid_phenols DOUBLE PRECISION NOT NULL,
    proanthocyanins DOUBLE PRECISION NOT NULL,
    color_intensity DOUBLE PRECISION NOT NULL,
    hue DOUBLE PRECISION NOT NULL,
    dilution DOUBLE PRECISION NOT NULL,
    proline DOUBLE PRECISION NOT NULL,
    kind TEXT
);
CREATE TABLE predictions (
    wine INTEGER PRIMARY KEY REFERENCES wines (id),
    kind TEXT NOT NULL,
    probability DOUBLE PRECISION NOT NULL
);
