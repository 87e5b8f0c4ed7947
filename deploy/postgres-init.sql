-- Run once by the postgres image, when its volume is empty.
--
-- The service gets a role that owns its database and is no superuser: a superuser could run programs and read files
-- on the database's host. The superuser has no password afterwards and is let in through the container's own socket
-- only (docker compose exec postgres psql).
\set password `cat /run/secrets/db_password`
CREATE ROLE gatehouse LOGIN PASSWORD :'password';
CREATE DATABASE gatehouse OWNER gatehouse;
REVOKE ALL ON DATABASE gatehouse FROM PUBLIC;
ALTER ROLE postgres PASSWORD NULL;
