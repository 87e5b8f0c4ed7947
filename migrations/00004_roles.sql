-- +goose Up
CREATE TABLE roles (
    name       text        NOT NULL,
    version    bigint      NOT NULL DEFAULT 1, -- rises with each change, against lost updates
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT roles_pkey PRIMARY KEY (name),
    CONSTRAINT roles_name_form CHECK (name ~ '^[a-z][a-z0-9_-]{0,31}$')
);

-- resource:action, or resource:* for all actions on a resource.
CREATE TABLE role_permissions (
    role_name  text NOT NULL,
    permission text NOT NULL,
    CONSTRAINT role_permissions_pkey PRIMARY KEY (role_name, permission),
    CONSTRAINT role_permissions_role_name_fkey FOREIGN KEY (role_name) REFERENCES roles (name) ON DELETE CASCADE,
    CONSTRAINT role_permissions_permission_form CHECK (permission ~ '^[a-z][a-z0-9_.-]{0,31}:([a-z][a-z0-9_.-]{0,31}|\*)$')
);

CREATE TABLE user_roles (
    user_id    uuid        NOT NULL,
    role_name  text        NOT NULL,
    granted_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT user_roles_pkey PRIMARY KEY (user_id, role_name),
    CONSTRAINT user_roles_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT user_roles_role_name_fkey FOREIGN KEY (role_name) REFERENCES roles (name)
);
CREATE INDEX user_roles_role_name_idx ON user_roles (role_name, user_id);

-- For pages of users whose names begin alike, in the order of the bytes: that of no locale changes with a library.
CREATE INDEX users_username_key_bytes_idx ON users (username_key COLLATE "C");

-- What a login asked for, where it asked for less than all of the user's permissions.
ALTER TABLE sessions ADD COLUMN scope text;
ALTER TABLE sessions ADD CONSTRAINT sessions_scope_length CHECK (octet_length(scope) <= 2048);

INSERT INTO roles (name) VALUES ('admin');
INSERT INTO role_permissions (role_name, permission) VALUES ('admin', 'gatehouse:*');

CREATE VIEW user_rights AS
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

-- The built-in role is what is left when every other one was given away or lost.
-- +goose StatementBegin
CREATE FUNCTION keep_builtin_role() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the role admin is built in' USING ERRCODE = 'check_violation', CONSTRAINT = 'roles_builtin';
END
$$;
-- +goose StatementEnd
CREATE TRIGGER roles_builtin BEFORE UPDATE OR DELETE ON roles
    FOR EACH ROW WHEN (OLD.name = 'admin') EXECUTE FUNCTION keep_builtin_role();
CREATE TRIGGER role_permissions_builtin_added BEFORE INSERT OR UPDATE ON role_permissions
    FOR EACH ROW WHEN (NEW.role_name = 'admin') EXECUTE FUNCTION keep_builtin_role();
CREATE TRIGGER role_permissions_builtin_changed BEFORE UPDATE OR DELETE ON role_permissions
    FOR EACH ROW WHEN (OLD.role_name = 'admin') EXECUTE FUNCTION keep_builtin_role();

-- Of those who take an enabled admin away, each waits for the one before, and then sees what that one left. In the
-- schema, so that no statement can forget it.
-- +goose StatementBegin
CREATE FUNCTION keep_last_admin() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    leaving uuid;
BEGIN
    IF TG_TABLE_NAME = 'users' THEN
        leaving := OLD.id;
    ELSE
        leaving := OLD.user_id;
    END IF;
    PERFORM FROM users u JOIN user_roles ur ON ur.user_id = u.id
    WHERE u.id = leaving AND u.disabled_at IS NULL AND ur.role_name = 'admin';
    IF FOUND THEN
        PERFORM FROM roles WHERE name = 'admin' FOR NO KEY UPDATE;
        PERFORM FROM users u JOIN user_roles ur ON ur.user_id = u.id
        WHERE u.id <> leaving AND u.disabled_at IS NULL AND ur.role_name = 'admin';
        IF NOT FOUND THEN
            RAISE EXCEPTION 'the last enabled admin must stay' USING ERRCODE = 'check_violation', CONSTRAINT = 'last_admin';
        END IF;
    END IF;
    IF TG_OP = 'DELETE' THEN
        RETURN OLD;
    END IF;
    RETURN NEW;
END
$$;
-- +goose StatementEnd
CREATE TRIGGER users_last_admin_disabled BEFORE UPDATE OF disabled_at ON users
    FOR EACH ROW WHEN (OLD.disabled_at IS NULL AND NEW.disabled_at IS NOT NULL) EXECUTE FUNCTION keep_last_admin();
CREATE TRIGGER users_last_admin_deleted BEFORE DELETE ON users
    FOR EACH ROW EXECUTE FUNCTION keep_last_admin();
CREATE TRIGGER user_roles_last_admin BEFORE UPDATE OR DELETE ON user_roles
    FOR EACH ROW WHEN (OLD.role_name = 'admin') EXECUTE FUNCTION keep_last_admin();

-- A token that does not fit where tokens go would lock its user out, so rights that are too many for it are refused.
-- +goose StatementBegin
CREATE FUNCTION bound_user_rights() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM user_rights r
    WHERE r.user_id IN (SELECT ur.user_id FROM user_roles ur WHERE ur.role_name IN (SELECT a.role_name FROM added a))
      AND octet_length(array_to_string(r.roles, '","')) + octet_length(array_to_string(r.permissions, ' ')) > 2048;
    IF FOUND THEN
        RAISE EXCEPTION 'the rights of a user would not fit into a token' USING ERRCODE = 'check_violation', CONSTRAINT = 'user_rights_size';
    END IF;
    RETURN NULL;
END
$$;
-- +goose StatementEnd
CREATE TRIGGER role_permissions_size AFTER INSERT ON role_permissions
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION bound_user_rights();

-- +goose StatementBegin
CREATE FUNCTION bound_granted_rights() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM user_rights r
    WHERE r.user_id IN (SELECT a.user_id FROM added a)
      AND octet_length(array_to_string(r.roles, '","')) + octet_length(array_to_string(r.permissions, ' ')) > 2048;
    IF FOUND THEN
        RAISE EXCEPTION 'the rights of a user would not fit into a token' USING ERRCODE = 'check_violation', CONSTRAINT = 'user_rights_size';
    END IF;
    RETURN NULL;
END
$$;
-- +goose StatementEnd
CREATE TRIGGER user_roles_size AFTER INSERT ON user_roles
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION bound_granted_rights();

-- Names of accounts that are gone. They are never given to another, and cannot be read here.
CREATE TABLE retired_usernames (
    key_digest bytea       NOT NULL,
    retired_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT retired_usernames_pkey PRIMARY KEY (key_digest)
);
-- +goose StatementBegin
CREATE FUNCTION retire_username() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO retired_usernames (key_digest) VALUES (sha256(convert_to(OLD.username_key, 'UTF8')));
    RETURN NULL;
END
$$;
CREATE FUNCTION refuse_retired_username() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM retired_usernames WHERE key_digest = sha256(convert_to(NEW.username_key, 'UTF8'))) THEN
        RAISE EXCEPTION 'the username was that of an account' USING ERRCODE = 'unique_violation', CONSTRAINT = 'users_username_key_unique';
    END IF;
    RETURN NULL;
END
$$;
-- +goose StatementEnd
CREATE TRIGGER users_retire_username AFTER DELETE ON users
    FOR EACH ROW EXECUTE FUNCTION retire_username();
-- AFTER, when the row has waited for whoever was deleting an account of that name.
CREATE TRIGGER users_refuse_retired_username AFTER INSERT ON users
    FOR EACH ROW EXECUTE FUNCTION refuse_retired_username();

-- +goose Down
DROP TRIGGER users_refuse_retired_username ON users;
DROP TRIGGER users_retire_username ON users;
DROP TRIGGER users_last_admin_deleted ON users;
DROP TRIGGER users_last_admin_disabled ON users;
DROP VIEW user_rights;
DROP TABLE user_roles;
DROP TABLE role_permissions;
DROP TABLE roles;
DROP TABLE retired_usernames;
DROP FUNCTION refuse_retired_username;
DROP FUNCTION retire_username;
DROP FUNCTION bound_granted_rights;
DROP FUNCTION bound_user_rights;
DROP FUNCTION keep_last_admin;
DROP FUNCTION keep_builtin_role;
ALTER TABLE sessions DROP COLUMN scope;
DROP INDEX users_username_key_bytes_idx;
