-- Run once by the postgres image, when its volume is empty.
--
-- The role gatehouse owns the database and makes its schema, and is no superuser: a superuser could run programs and read
-- files on the database's host. The service connects as gatehouse_service, whose rights the migration gives: it can neither
-- change the schema nor take anything out of the audit log. The superuser has no password afterwards and is let in through the container's own socket
-- only (docker compose exec postgres psql).
\set password `cat /run/secrets/db_password`
CREATE ROLE gatehouse LOGIN PASSWORD :'password';
\set password `cat /run/secrets/db_service_password`
CREATE ROLE gatehouse_service LOGIN PASSWORD :'password';
CREATE DATABASE gatehouse OWNER gatehouse;
REVOKE ALL ON DATABASE gatehouse FROM PUBLIC;
ALTER ROLE postgres PASSWORD NULL;
