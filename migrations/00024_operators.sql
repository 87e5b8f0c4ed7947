-- +goose Up
-- Who the operator was, by the name of the system's user. The other actors have an id.
ALTER TABLE audit_events ADD COLUMN IF NOT EXISTS operator_name text NOT NULL DEFAULT '';
ALTER TABLE audit_events DROP CONSTRAINT IF EXISTS audit_events_operator_name_form;
ALTER TABLE audit_events ADD CONSTRAINT audit_events_operator_name_form
    CHECK (char_length(operator_name) <= 64 AND (operator_name = '' OR actor = 'operator')) NOT VALID;

-- +goose StatementBegin
-- The version of the service before this one names no operator.
CREATE OR REPLACE FUNCTION record_event(event jsonb, user_id uuid) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    recorded bigint;
BEGIN
    INSERT INTO audit_events AS e (action, outcome, actor, actor_id, operator_name, user_id, target, request_id, client_address, user_agent, count)
    VALUES (event->>'action', event->>'outcome', event->>'actor', (event->>'actor_id')::uuid, coalesce(event->>'operator_name', ''),
            record_event.user_id, event->>'target', event->>'request_id', event->>'client_address', event->>'user_agent',
            coalesce((event->>'count')::bigint, 1))
    RETURNING e.id INTO recorded;
    RETURN recorded;
END
$$;
-- +goose StatementEnd

-- +goose Down
-- The column and record_event stay as they are: the version before needs nothing else, and whoever
-- is about to tell of something would not find the column any more.
SELECT 1;
