-- +goose Up
-- The built-in role keeps its name and its permissions. Whether it demands a second factor is for
-- the operator to say. A change of it raises the version, as for any role.
CREATE OR REPLACE TRIGGER roles_builtin BEFORE UPDATE OF name OR DELETE ON roles
    FOR EACH ROW WHEN (OLD.name = 'admin') EXECUTE FUNCTION keep_builtin_role();

-- Whoever sets a password has one from then on, unless the statement itself says that nobody knows
-- it. In the trigger, so that no statement can forget it.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION set_password_changed_at() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.password_changed_at := now();
    IF NEW.password_removed_at IS NOT DISTINCT FROM OLD.password_removed_at THEN
        NEW.password_removed_at := NULL;
    END IF;
    RETURN NEW;
END
$$;
-- +goose StatementEnd

-- +goose Down
CREATE OR REPLACE TRIGGER roles_builtin BEFORE UPDATE OR DELETE ON roles
    FOR EACH ROW WHEN (OLD.name = 'admin') EXECUTE FUNCTION keep_builtin_role();
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION set_password_changed_at() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.password_changed_at := now();
    RETURN NEW;
END
$$;
-- +goose StatementEnd
