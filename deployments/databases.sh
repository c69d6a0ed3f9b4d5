#!/bin/sh
# Prefect's database and MLflow's, each with an owner of its own: they may not share one, both keep a table
# alembic_version. PostgreSQL's image runs this once, when its volume is new. It is run again without harm.
set -eu

make() {
    psql -v ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres --set=name="$1" --set=password="$2" <<'SQL'
SELECT format('CREATE ROLE %I LOGIN', :'name') WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'name') \gexec
ALTER ROLE :"name" PASSWORD :'password';
SELECT format('CREATE DATABASE %I OWNER %I', :'name', :'name')
    WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'name') \gexec
SQL
}

make prefect "$PREFECT_DB_PASSWORD"
make mlflow "$MLFLOW_DB_PASSWORD"
