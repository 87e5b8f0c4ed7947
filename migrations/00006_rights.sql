-- +goose Up
-- What a trigger did for each row or user, these do once for all rows of a statement: an import stores a million.
DROP TRIGGER users_refuse_retired_username ON users;
DROP TRIGGER role_permissions_size ON role_permissions;
DROP TRIGGER user_roles_size ON user_roles;
DROP FUNCTION refuse_retired_username;
DROP FUNCTION bound_user_rights;
DROP FUNCTION bound_granted_rights;

-- +goose StatementBegin
CREATE FUNCTION refuse_retired_usernames() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM added a JOIN retired_usernames r ON r.key_digest = sha256(convert_to(a.username_key, 'UTF8'))) THEN
        RAISE EXCEPTION 'the username was that of an account' USING ERRCODE = 'unique_violation', CONSTRAINT = 'users_username_key_unique';
    END IF;
    RETURN NULL;
END
$$;
-- +goose StatementEnd
-- AFTER, when the rows have waited for whoever was deleting accounts of those names.
CREATE TRIGGER users_refuse_retired_usernames AFTER INSERT ON users
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION refuse_retired_usernames();

-- +goose StatementBegin
CREATE FUNCTION bound_rights() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    bound CONSTANT integer := 2048;
    holders uuid[];
BEGIN
    IF TG_TABLE_NAME = 'user_roles' THEN
        holders := ARRAY(SELECT DISTINCT a.user_id FROM added a);
    ELSE
        holders := ARRAY(SELECT DISTINCT ur.user_id FROM user_roles ur WHERE ur.role_name IN (SELECT a.role_name FROM added a));
    END IF;
    -- To put everybody's rights together takes long. The roles of nearly all fit even if each permission is counted again
    -- for each role that has it.
    PERFORM FROM (
        SELECT ur.user_id
        FROM unnest(holders) AS h (user_id)
        JOIN user_roles ur ON ur.user_id = h.user_id
        JOIN (
            SELECT r.name, octet_length(r.name) + 3 + coalesce(sum(octet_length(p.permission) + 1), 0) AS bytes
            FROM roles r
            LEFT JOIN role_permissions p ON p.role_name = r.name
            GROUP BY r.name
        ) size ON size.name = ur.role_name
        GROUP BY ur.user_id
        HAVING sum(size.bytes) > bound
    ) large
    JOIN user_rights r ON r.user_id = large.user_id
    WHERE octet_length(array_to_string(r.roles, '","')) + octet_length(array_to_string(r.permissions, ' ')) > bound;
    IF FOUND THEN
        RAISE EXCEPTION 'the rights of a user would not fit into a token' USING ERRCODE = 'check_violation', CONSTRAINT = 'user_rights_size';
    END IF;
    RETURN NULL;
END
$$;
-- +goose StatementEnd
CREATE TRIGGER role_permissions_size AFTER INSERT ON role_permissions
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION bound_rights();
CREATE TRIGGER user_roles_size AFTER INSERT ON user_roles
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION bound_rights();

-- +goose Down
DROP TRIGGER users_refuse_retired_usernames ON users;
DROP TRIGGER role_permissions_size ON role_permissions;
DROP TRIGGER user_roles_size ON user_roles;
DROP FUNCTION refuse_retired_usernames;
DROP FUNCTION bound_rights;

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
CREATE FUNCTION refuse_retired_username() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM retired_usernames WHERE key_digest = sha256(convert_to(NEW.username_key, 'UTF8'))) THEN
        RAISE EXCEPTION 'the username was that of an account' USING ERRCODE = 'unique_violation', CONSTRAINT = 'users_username_key_unique';
    END IF;
    RETURN NULL;
END
$$;
-- +goose StatementEnd
CREATE TRIGGER role_permissions_size AFTER INSERT ON role_permissions
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION bound_user_rights();
CREATE TRIGGER user_roles_size AFTER INSERT ON user_roles
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION bound_granted_rights();
CREATE TRIGGER users_refuse_retired_username AFTER INSERT ON users
    FOR EACH ROW EXECUTE FUNCTION refuse_retired_username();
