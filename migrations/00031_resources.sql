-- +goose Up
-- The resources that an app has asked for, and that its access tokens are for (RFC 8707), with
-- spaces between. NULL: none, and the tokens are for this service. The version before knows none.
-- Tokens that it makes of such a session are for this service, as they were.
ALTER TABLE sessions
    ADD COLUMN resource text,
    ADD CONSTRAINT sessions_resource_length CHECK (octet_length(resource) BETWEEN 1 AND 1024) NOT VALID;
ALTER TABLE authorization_codes
    ADD COLUMN resource text,
    ADD CONSTRAINT authorization_codes_resource_length
        CHECK (octet_length(resource) BETWEEN 1 AND 1024) NOT VALID;

-- +goose Down
ALTER TABLE sessions DROP COLUMN resource;
ALTER TABLE authorization_codes DROP COLUMN resource;
