-- +goose Up
-- Of everybody and of nobody: an entry that only refusals of existing accounts make takes its time, by which they could be
-- told from the others.
DROP INDEX audit_events_user_id_idx;
CREATE INDEX audit_events_user_id_idx ON audit_events (user_id, at, id);

-- +goose Down
DROP INDEX audit_events_user_id_idx;
CREATE INDEX audit_events_user_id_idx ON audit_events (user_id, at, id) WHERE user_id IS NOT NULL;
