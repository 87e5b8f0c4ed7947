-- name: InsertPasswordKey :exec
INSERT INTO password_keys (id, check_value)
VALUES (@id, @check_value)
ON CONFLICT ON CONSTRAINT password_keys_pkey DO NOTHING;

-- name: ListPasswordKeys :many
SELECT id, check_value
FROM password_keys
ORDER BY created_at, id;
