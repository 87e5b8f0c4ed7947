-- name: ListSecretKeys :many
SELECT id
FROM secret_keys
ORDER BY id;

-- name: RenewSecretKeys :exec
INSERT INTO secret_keys (id)
SELECT unnest(@ids::text[])
ON CONFLICT ON CONSTRAINT secret_keys_pkey DO UPDATE SET seen_at = now();

-- name: ForgetSecretKeys :exec
DELETE FROM secret_keys
WHERE seen_at < now() - interval '1 day'
   OR @all_of_them::boolean;
