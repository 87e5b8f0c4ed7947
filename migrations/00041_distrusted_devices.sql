-- +goose Up
-- A trusted device is a known device of its account. Whatever makes known devices unknown, such as
-- another password, ends the trust: people who look at the list would be told otherwise.
-- +goose StatementBegin
CREATE FUNCTION distrust_devices() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM trusted_devices WHERE user_id = NEW.id;
    RETURN NULL;
END
$$;
-- +goose StatementEnd
CREATE TRIGGER users_distrust_devices AFTER UPDATE ON users
    FOR EACH ROW WHEN (OLD.password_changed_at IS DISTINCT FROM NEW.password_changed_at)
    EXECUTE FUNCTION distrust_devices();

-- +goose Down
DROP TRIGGER users_distrust_devices ON users;
DROP FUNCTION distrust_devices;
