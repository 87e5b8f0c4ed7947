-- +goose Up
-- Which keys of SECRET_KEY the replicas run with, by an id that gives none of them away: so that nobody writes what they cannot
-- read. A replica renews its own each hour; what none has renewed for a day is forgotten.
CREATE TABLE secret_keys (
    id      text        NOT NULL,
    seen_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT secret_keys_pkey PRIMARY KEY (id),
    CONSTRAINT secret_keys_id_form CHECK (id ~ '^[0-9a-f]{32}$')
);

-- +goose Down
DROP TABLE secret_keys;
