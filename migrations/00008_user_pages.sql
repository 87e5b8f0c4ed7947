-- +goose Up
-- For pages of the disabled or the enabled. A number, since PostgreSQL rewrites conditions on booleans, and then no longer
-- knows them as this one.
CREATE INDEX users_state_idx ON users (((disabled_at IS NOT NULL)::int), username_key COLLATE "C");

-- For pages of who has a role, in the order of the names: where they stand far from each other, or at the end, neither all
-- names nor all who have it need to be read. A username never changes.
ALTER TABLE user_roles ADD COLUMN username_key text COLLATE "C";
-- Those that keep the last admin see an update as the end of what was there.
ALTER TABLE user_roles DISABLE TRIGGER USER;
UPDATE user_roles SET username_key = u.username_key FROM users u WHERE u.id = user_roles.user_id;
ALTER TABLE user_roles ENABLE TRIGGER USER;
ALTER TABLE user_roles ALTER COLUMN username_key SET NOT NULL;

-- +goose StatementBegin
CREATE FUNCTION name_user_role() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    SELECT u.username_key INTO NEW.username_key FROM users u WHERE u.id = NEW.user_id;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'a role for no user' USING ERRCODE = 'foreign_key_violation', CONSTRAINT = 'user_roles_user_id_fkey';
    END IF;
    RETURN NEW;
END
$$;
-- +goose StatementEnd
CREATE TRIGGER user_roles_username_key BEFORE INSERT OR UPDATE OF user_id, username_key ON user_roles
    FOR EACH ROW EXECUTE FUNCTION name_user_role();

CREATE INDEX user_roles_page_idx ON user_roles (role_name, username_key);
DROP INDEX user_roles_role_name_idx; -- of which the one above does the work

-- +goose Down
CREATE INDEX user_roles_role_name_idx ON user_roles (role_name, user_id);
DROP TRIGGER user_roles_username_key ON user_roles;
DROP FUNCTION name_user_role;
ALTER TABLE user_roles DROP COLUMN username_key;
DROP INDEX users_state_idx;
