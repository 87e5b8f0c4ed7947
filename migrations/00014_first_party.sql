-- +goose Up
-- Whose tokens may rule their user's account: see all sessions, end them, and change the password. gatehouse, which is built
-- in, is one too. Those of other clients see and end the sessions of their own client.
ALTER TABLE clients ADD COLUMN first_party boolean NOT NULL DEFAULT false;
-- A bound is for a client that is trusted with less.
ALTER TABLE clients ADD CONSTRAINT clients_first_party_unbounded CHECK (NOT first_party OR scope IS NULL);

-- A permission may also be one word, as the scopes of others are (RFC 6749 §3.3), but not the word under which Gatehouse's own
-- are.
ALTER TABLE role_permissions DROP CONSTRAINT role_permissions_permission_form;
ALTER TABLE role_permissions ADD CONSTRAINT role_permissions_permission_form
    CHECK (permission ~ '^[a-z][a-z0-9_.-]{0,31}(:([a-z][a-z0-9_.-]{0,31}|\*))?$' AND permission <> 'gatehouse');

-- +goose Down
-- Who loses a permission by this gets other tokens.
UPDATE users
SET token_version = token_version + 1, updated_at = now()
WHERE id IN (SELECT ur.user_id FROM user_roles ur JOIN role_permissions p ON p.role_name = ur.role_name WHERE p.permission !~ ':');
UPDATE roles
SET version = version + 1, updated_at = now()
WHERE name IN (SELECT p.role_name FROM role_permissions p WHERE p.permission !~ ':');
DELETE FROM role_permissions WHERE permission !~ ':';
ALTER TABLE role_permissions DROP CONSTRAINT role_permissions_permission_form;
ALTER TABLE role_permissions ADD CONSTRAINT role_permissions_permission_form
    CHECK (permission ~ '^[a-z][a-z0-9_.-]{0,31}:([a-z][a-z0-9_.-]{0,31}|\*)$');
ALTER TABLE clients DROP COLUMN first_party;
