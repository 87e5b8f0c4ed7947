-- +goose Up
-- An account is renamed when the address that it has as its name turns out to be somebody else's. The
-- roles that it was granted are listed by its name.
-- +goose StatementBegin
CREATE FUNCTION rename_user_roles() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE user_roles SET username_key = NEW.username_key WHERE user_id = NEW.id;
    RETURN NULL;
END
$$;
-- +goose StatementEnd
CREATE TRIGGER users_renamed AFTER UPDATE OF username_key ON users
    FOR EACH ROW WHEN (OLD.username_key IS DISTINCT FROM NEW.username_key)
    EXECUTE FUNCTION rename_user_roles();

-- +goose Down
DROP TRIGGER users_renamed ON users;
DROP FUNCTION rename_user_roles;
