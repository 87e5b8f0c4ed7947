-- +goose Up
-- Whose session has ended is told to its app (OpenID Connect Back-Channel Logout 1.0), by a job of
-- river in the same transaction. In the schema, so that no statement that ends sessions can forget
-- it. For each row: a refresh, which ends nothing, costs nothing.
--
-- +goose StatementBegin
CREATE FUNCTION tell_app_of_end() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO river_job (kind, args, queue, max_attempts)
    SELECT 'backchannel_logout',
           jsonb_build_object('client_id', OLD.client_id, 'session_id', OLD.id, 'user_id', OLD.user_id),
           'backchannel_logout', 10
    FROM clients c
    WHERE c.client_id = OLD.client_id
      AND c.backchannel_logout_uri IS NOT NULL;
    RETURN NULL;
END
$$;
CREATE FUNCTION tell_offline_apps_of_end() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO river_job (kind, args, queue, max_attempts)
    SELECT 'backchannel_logout',
           jsonb_build_object('client_id', s.client_id, 'session_id', s.id, 'user_id', s.user_id),
           'backchannel_logout', 10
    FROM sessions s
    JOIN clients c ON c.client_id = s.client_id
    WHERE s.user_id = NEW.user_id -- by the index of live sessions
      AND s.parent_id = NEW.id
      AND s.ended_at IS NULL
      AND s.offline
      AND c.backchannel_logout_uri IS NOT NULL;
    RETURN NULL;
END
$$;
-- +goose StatementEnd
CREATE TRIGGER sessions_tell_app AFTER UPDATE OF ended_at ON sessions
    FOR EACH ROW WHEN (OLD.ended_at IS NULL AND NEW.ended_at IS NOT NULL AND OLD.client_id IS NOT NULL)
    EXECUTE FUNCTION tell_app_of_end();
-- With its user. What is deleted because it is long over has expired.
CREATE TRIGGER sessions_tell_app_deleted AFTER DELETE ON sessions
    FOR EACH ROW WHEN (OLD.ended_at IS NULL AND OLD.expires_at > now() AND OLD.client_id IS NOT NULL)
    EXECUTE FUNCTION tell_app_of_end();
-- An offline session goes on when the browser's ends. Its refresh tokens stay, and yet the user has
-- logged out (§2.7).
CREATE TRIGGER sessions_tell_offline_apps AFTER UPDATE OF ended_at ON sessions
    FOR EACH ROW WHEN (NEW.browser AND OLD.ended_at IS NULL AND NEW.ended_at IS NOT NULL)
    EXECUTE FUNCTION tell_offline_apps_of_end();

-- +goose Down
DROP TRIGGER sessions_tell_offline_apps ON sessions;
DROP TRIGGER sessions_tell_app_deleted ON sessions;
DROP TRIGGER sessions_tell_app ON sessions;
DROP FUNCTION tell_offline_apps_of_end;
DROP FUNCTION tell_app_of_end;
