package dataset

import (
	"context"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"
)

// FillPages makes accounts whose names are in the order of their numbers. Twenty are disabled and
// ten have the role "last", at the end of the names, where a walk along them comes late; a tenth
// have the role "tenth", which are the last too.
func FillPages(ctx context.Context, pool *pgxpool.Pool, users int) error {
	for _, statement := range []string{
		"INSERT INTO roles (name) VALUES ('tenth'), ('last'), ('nobody')",
		"INSERT INTO role_permissions (role_name, permission) SELECT name, 'files:read' FROM roles WHERE name <> 'admin'",
		`INSERT INTO users (id, username, username_key, password_hash, disabled_at)
			SELECT gen_random_uuid(), name, name, '$2b$04$' || repeat('h', 53), CASE WHEN n > $1::int - 20 THEN now() END
			FROM (SELECT n, 'user-' || lpad(n::text, 7, '0') AS name FROM generate_series(1, $1::int) n) named`,
		`INSERT INTO user_roles (user_id, role_name)
			SELECT u.id, r.name
			FROM (SELECT id, row_number() OVER (ORDER BY username_key COLLATE "C" DESC) AS last FROM users) u
			JOIN roles r ON r.name = 'tenth' AND u.last <= $1::int / 10 OR r.name = 'last' AND u.last <= 10`,
		`WITH u AS (
			INSERT INTO users (id, username, username_key, password_hash)
			VALUES (gen_random_uuid(), 'admin', 'admin', '$2b$04$' || repeat('h', 53))
			RETURNING id
		)
		INSERT INTO user_roles (user_id, role_name) SELECT id, 'admin' FROM u`,
		"VACUUM ANALYZE",
	} {
		args := []any{users}
		if !strings.Contains(statement, "$1") {
			args = nil
		}
		if _, err := pool.Exec(ctx, statement, args...); err != nil {
			return err
		}
	}
	return nil
}
