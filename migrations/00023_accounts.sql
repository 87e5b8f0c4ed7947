-- +goose Up
-- A role that is deleted and made again has another version, also where it never had a permission.
ALTER TABLE roles ALTER COLUMN version
    SET DEFAULT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint;

-- What the service reads of a user stands here, once. Whoever adds a column to users adds it to the
-- view accounts, at the end, and to account_or_stand_in.

-- rights_of gives the roles of a user and their permissions. It has one row for each id, also for
-- an id that nobody has. PostgreSQL puts its SELECT in place of the call.
-- +goose StatementBegin
CREATE FUNCTION rights_of(of_user uuid) RETURNS TABLE (roles text[], permissions text[])
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT ARRAY(
               SELECT ur.role_name
               FROM user_roles ur
               WHERE ur.user_id = of_user
               ORDER BY ur.role_name COLLATE "C"
           ),
           ARRAY(
               SELECT DISTINCT rp.permission COLLATE "C"
               FROM user_roles ur
               JOIN role_permissions rp ON rp.role_name = ur.role_name
               WHERE ur.user_id = of_user
               ORDER BY 1
           );
END;
-- +goose StatementEnd

-- accounts has the columns of users, but neither the hash of the password nor what is made of it.
-- sqlc needs the casts to know the types.
CREATE VIEW accounts AS
SELECT u.id, u.username, u.username_key, u.disabled_at, u.token_version, u.created_at, u.updated_at,
       u.must_change_password, u.password_expires_at,
       coalesce(u.password_changed_at, 'epoch')::timestamptz AS password_changed_at,
       r.roles::text[] AS roles, r.permissions::text[] AS permissions
FROM users u
CROSS JOIN LATERAL rights_of(u.id) r;

-- account_of gives the account as the statement that calls it has left it. The view would show it
-- as it was when the statement began. The body is text, so that the star takes in new columns.
-- +goose StatementBegin
CREATE FUNCTION account_of(of_user uuid) RETURNS SETOF accounts
LANGUAGE sql VOLATILE ROWS 1 AS $$
    SELECT a.* FROM accounts a WHERE a.id = of_user
$$;
-- +goose StatementEnd

-- account_or_stand_in gives the account of a row of users. Where there is no row, it gives a
-- stand-in with the id and the name that it is told. That takes the same work, and as many bytes.
-- The id is an argument of its own so that the plan uses the column and builds no row for it.
-- +goose StatementBegin
CREATE FUNCTION account_or_stand_in(u users, of_user uuid, called text) RETURNS SETOF accounts
LANGUAGE sql STABLE PARALLEL SAFE ROWS 1
BEGIN ATOMIC
    SELECT of_user, coalesce(u.username, called), coalesce(u.username_key, called), u.disabled_at,
           coalesce(u.token_version, 1), coalesce(u.created_at, now()),
           coalesce(u.updated_at, now()), coalesce(u.must_change_password, false),
           u.password_expires_at, coalesce(u.password_changed_at, 'epoch'), r.roles, r.permissions
    FROM rights_of(of_user) r;
END;
-- +goose StatementEnd

-- The version before reads user_rights, and a trigger does. REPLACE keeps the rights on it. But
-- rights_of reads with the rights of its caller: a role of PostgreSQL that may read this view, as one
-- for reports, needs SELECT on user_roles and role_permissions too from now on.
CREATE OR REPLACE VIEW user_rights AS
SELECT u.id AS user_id, r.roles::text[] AS roles, r.permissions::text[] COLLATE "C" AS permissions
FROM users u
CROSS JOIN LATERAL rights_of(u.id) r;

-- +goose Down
CREATE OR REPLACE VIEW user_rights AS
SELECT u.id AS user_id,
       ARRAY(
           SELECT ur.role_name
           FROM user_roles ur
           WHERE ur.user_id = u.id
           ORDER BY ur.role_name COLLATE "C"
       ) AS roles,
       ARRAY(
           SELECT DISTINCT rp.permission COLLATE "C"
           FROM user_roles ur
           JOIN role_permissions rp ON rp.role_name = ur.role_name
           WHERE ur.user_id = u.id
           ORDER BY 1
       ) AS permissions
FROM users u;
DROP FUNCTION account_or_stand_in;
DROP FUNCTION account_of;
DROP VIEW accounts;
DROP FUNCTION rights_of;
ALTER TABLE roles ALTER COLUMN version SET DEFAULT 1;
