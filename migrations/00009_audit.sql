-- +goose Up
-- What was done or refused, by whom, to whom and from where. Rows are only ever added: the service's role may insert and
-- read them, and the owner of the schema drops whole months.
CREATE TABLE audit_events (
    id             bigint      GENERATED ALWAYS AS IDENTITY,
    -- Not the start of the transaction: whoever follows the log would miss what a long one tells at its end.
    at             timestamptz NOT NULL DEFAULT statement_timestamp(),
    action         text        NOT NULL,
    outcome        text        NOT NULL,
    actor          text        NOT NULL,
    actor_id       uuid,
    user_id        uuid,                 -- whom it was done to; stays when there is no such user any more
    target         text        NOT NULL, -- what else it was done to: a session, a role, a permission
    request_id     text        NOT NULL,
    client_address text        NOT NULL,
    user_agent     text        NOT NULL,
    CONSTRAINT audit_events_pkey PRIMARY KEY (at, id),
    CONSTRAINT audit_events_action_form CHECK (action ~ '^[a-z]+(\.[a-z]+)?$'),
    CONSTRAINT audit_events_outcome_form CHECK (outcome ~ '^[a-z_]+$'),
    CONSTRAINT audit_events_actor_known CHECK (actor IN ('anonymous', 'user', 'operator')),
    CONSTRAINT audit_events_user_has_id CHECK ((actor = 'user') = (actor_id IS NOT NULL)),
    CONSTRAINT audit_events_target_length CHECK (char_length(target) <= 128),
    CONSTRAINT audit_events_request_id_length CHECK (char_length(request_id) <= 128),
    CONSTRAINT audit_events_client_address_length CHECK (char_length(client_address) <= 64),
    CONSTRAINT audit_events_user_agent_length CHECK (char_length(user_agent) <= 256)
) PARTITION BY RANGE (at);
CREATE INDEX audit_events_user_id_idx ON audit_events (user_id, at, id) WHERE user_id IS NOT NULL;
CREATE INDEX audit_events_actor_id_idx ON audit_events (actor_id, at, id) WHERE actor_id IS NOT NULL;
CREATE INDEX audit_events_request_id_idx ON audit_events (request_id);
-- For what is rare. What is frequent is found soon by going back in time, and need not pay for an index.
CREATE INDEX audit_events_outcome_idx ON audit_events (outcome, at, id) WHERE outcome <> 'success';
CREATE INDEX audit_events_action_idx ON audit_events (action, at, id) WHERE action <> 'login' AND action <> 'refresh';

-- +goose StatementBegin
-- The one way into the log, called by the statement that does what it tells of, so that there is both or neither.
CREATE FUNCTION record_event(event jsonb, user_id uuid) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    recorded bigint;
BEGIN
    INSERT INTO audit_events AS e (action, outcome, actor, actor_id, user_id, target, request_id, client_address, user_agent)
    VALUES (event->>'action', event->>'outcome', event->>'actor', (event->>'actor_id')::uuid, record_event.user_id,
            event->>'target', event->>'request_id', event->>'client_address', event->>'user_agent')
    RETURNING e.id INTO recorded;
    RETURN recorded;
END
$$;
-- +goose StatementEnd

-- +goose StatementBegin
-- Makes the partitions of this month (in UTC) and of three more; without one, nothing that must be told of could be done.
-- Tables are made by their owner alone, so the service is lent the owner's rights for this. ATTACH, since CREATE TABLE …
-- PARTITION OF would keep everybody from the log for as long as it waits.
CREATE FUNCTION add_audit_partitions() RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    first CONSTANT timestamp := date_trunc('month', now() AT TIME ZONE 'UTC');
    month timestamp;
    name  text;
BEGIN
    FOR month IN SELECT generate_series(first, first + interval '3 months', interval '1 month') LOOP
        name := 'audit_events_' || to_char(month, 'YYYY_MM');
        CONTINUE WHEN EXISTS (SELECT FROM pg_class c WHERE c.relnamespace = current_schema()::regnamespace AND c.relname = name);
        PERFORM pg_advisory_xact_lock(hashtextextended('add_audit_partitions', 0)); -- replicas start at once
        CONTINUE WHEN EXISTS (SELECT FROM pg_class c WHERE c.relnamespace = current_schema()::regnamespace AND c.relname = name);
        EXECUTE format('CREATE TABLE %I (LIKE audit_events INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', name);
        EXECUTE format('ALTER TABLE audit_events ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
            name, month AT TIME ZONE 'UTC', (month + interval '1 month') AT TIME ZONE 'UTC');
    END LOOP;
END
$$;
-- So that nobody's temporary tables stand in for those of the schema while the owner's rights are lent.
DO $$
BEGIN
    EXECUTE format('ALTER FUNCTION add_audit_partitions SET search_path = %I, pg_temp', current_schema());
END
$$;
-- +goose StatementEnd
REVOKE ALL ON FUNCTION add_audit_partitions FROM PUBLIC;
SELECT add_audit_partitions();

-- +goose Down
DROP FUNCTION add_audit_partitions;
DROP FUNCTION record_event;
DROP TABLE audit_events;
