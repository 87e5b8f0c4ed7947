-- +goose Up
-- The outbox. A mail is queued in the transaction that causes it, with a job of river beside it. So
-- no mail is lost, and none tells of what was rolled back. What is in it is sealed, and forgotten
-- when the mail is done.
CREATE TABLE mails (
    id          uuid        NOT NULL,
    kind        text        NOT NULL,
    user_id     uuid, -- NULL: nobody, or not known yet
    sealed      bytea,
    created_at  timestamptz NOT NULL DEFAULT now(),
    expires_at  timestamptz NOT NULL, -- then it is of no use any more
    admitted_at timestamptz, -- when it was decided that it is to be sent, and the limits were taken
    attempts    integer     NOT NULL DEFAULT 0,
    outcome     text,
    problem     text, -- what the relay said, or why nothing was sent
    done_at     timestamptz,
    CONSTRAINT mails_pkey PRIMARY KEY (id),
    CONSTRAINT mails_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    -- Kinds are known to the service alone: the version after may have more.
    CONSTRAINT mails_kind_form CHECK (kind ~ '^[a-z_]{1,32}$'),
    CONSTRAINT mails_sealed_length CHECK (octet_length(sealed) BETWEEN 29 AND 8192),
    CONSTRAINT mails_sealed_until_done CHECK ((sealed IS NULL) = (done_at IS NOT NULL)),
    CONSTRAINT mails_done_has_outcome CHECK ((outcome IS NULL) = (done_at IS NULL)),
    CONSTRAINT mails_outcome_known
        CHECK (outcome IN ('sent', 'void', 'suppressed', 'expired', 'dead')),
    CONSTRAINT mails_problem_length CHECK (char_length(problem) BETWEEN 1 AND 200)
);
CREATE INDEX mails_user_id_idx ON mails (user_id, created_at, id);
CREATE INDEX mails_done_at_idx ON mails (done_at) WHERE done_at IS NOT NULL;
CREATE INDEX mails_waiting_idx ON mails (expires_at) WHERE done_at IS NULL;

-- +goose StatementBegin
CREATE FUNCTION queue_mail(mail jsonb, of_user uuid) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO mails (id, kind, user_id, sealed, expires_at)
    VALUES ((mail->>'id')::uuid, mail->>'kind', of_user, decode(mail->>'sealed', 'base64'),
            now() + make_interval(secs => (mail->>'lifetime_seconds')::double precision));
    INSERT INTO river_job (kind, args, queue, max_attempts)
    VALUES ('mail', jsonb_build_object('id', mail->>'id'), 'mail', 25);
END
$$;
-- What records an event can send mails with it. The version before sends none.
CREATE OR REPLACE FUNCTION record_event(event jsonb, user_id uuid) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    recorded bigint;
BEGIN
    INSERT INTO audit_events AS e (action, outcome, actor, actor_id, operator_name, user_id, target, request_id, client_address, user_agent, count)
    VALUES (event->>'action', event->>'outcome', event->>'actor', (event->>'actor_id')::uuid, coalesce(event->>'operator_name', ''),
            record_event.user_id, event->>'target', event->>'request_id', event->>'client_address', event->>'user_agent',
            coalesce((event->>'count')::bigint, 1))
    RETURNING e.id INTO recorded;
    IF event ? 'mails' THEN
        -- That somebody's account was deleted is told to an account that is gone.
        PERFORM queue_mail(m, CASE WHEN m ? 'of_nobody' THEN NULL ELSE record_event.user_id END)
        FROM jsonb_array_elements(event->'mails') m;
    END IF;
    RETURN recorded;
END
$$;
-- +goose StatementEnd

-- +goose Down
-- record_event of before. A replica of this version that is still there sends no mails any more.
-- +goose StatementBegin
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
DROP FUNCTION queue_mail;
DROP TABLE mails;
DELETE FROM river_job WHERE queue = 'mail';
