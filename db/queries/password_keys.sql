-- name: InsertPasswordKey :exec
INSERT INTO password_keys (id, check_value)
VALUES (@id, @check_value)
ON CONFLICT ON CONSTRAINT password_keys_pkey DO NOTHING;

-- name: ListPasswordKeys :many
SELECT id, check_value
FROM password_keys
ORDER BY created_at, id;

-- name: CountPasswordKeyUsers :many
SELECT k.id, count(u.id) AS users
FROM password_keys k
LEFT JOIN users u ON u.password_key = k.id
GROUP BY k.id;

-- name: DeletePasswordKey :execrows
WITH retired AS (
    DELETE FROM password_keys
    WHERE id = @id
    RETURNING id
)
SELECT record_event(@event::jsonb, NULL)
FROM retired;
