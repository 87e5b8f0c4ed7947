package main

import (
	"context"
	"net/http"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/crypto/bcrypt"
)

// The two statements of a refresh, of which the first is also that of /users/me: SessionByID and RotateSession of
// db/queries/sessions.sql. A test compares them.
const (
	sessionByID = `
SELECT s.salt, s.counter, s.rotated_at, s.idle_expires_at, s.expires_at, s.ended_at, s.scope, now()::timestamptz AS now,
       u.id AS user_id, u.username, u.username_key, u.disabled_at, u.token_version, u.created_at, u.updated_at, u.must_change_password,
       u.password_expires_at, r.roles::text[] AS roles, r.permissions::text[] AS permissions,
       s.client_id, c.grant_types AS client_grant_types, c.scope AS client_scope
FROM sessions s
JOIN users u ON u.id = s.user_id
JOIN user_rights r ON r.user_id = s.user_id
LEFT JOIN clients c ON c.client_id = s.client_id
WHERE s.id = $1`
	rotateSession = `
WITH rotated AS (
    UPDATE sessions
    SET counter         = counter + 1,
        rotated_at      = now(),
        last_used_at    = now(),
        idle_expires_at = least(now() + make_interval(secs => $3), expires_at)
    WHERE id = $1
      AND counter = $2
      AND ended_at IS NULL
    RETURNING user_id
)
SELECT record_event($4::jsonb, rotated.user_id)
FROM rotated`
	refreshed = `{"action":"refresh","outcome":"success","actor":"anonymous","actor_id":null,"target":"","request_id":"0123456789ABCDEFGHIJKLMNOP",
		"client_address":"127.0.0.1","user_agent":"bench"}`
)

// bareServer is what the service is compared with: the same router, pool and statements, and nothing else.
type bareServer struct {
	pool *pgxpool.Pool
	hash []byte
}

const barePassword = "correct horse battery"

// serveBare runs the bare handlers with the service's settings of process, pool and connections.
func serveBare(ctx context.Context, addr string) error {
	runtime.GOMAXPROCS(2 * runtime.NumCPU()) // these two as in app.Run
	debug.SetGCPercent(400)
	config, err := pgxpool.ParseConfig(os.Getenv("DATABASE_URL"))
	if err != nil {
		return err
	}
	config.MaxConns = int32(max(10, 4*runtime.NumCPU())) // as in db.Open
	b := &bareServer{}
	if b.pool, err = pgxpool.NewWithConfig(ctx, config); err != nil {
		return err
	}
	defer b.pool.Close()
	if b.hash, err = bcrypt.GenerateFromPassword([]byte(barePassword), bcryptCost); err != nil {
		return err
	}
	gin.SetMode(gin.ReleaseMode)
	engine := gin.New()
	engine.GET("/verify", func(c *gin.Context) { c.Status(http.StatusNoContent) })
	engine.GET("/headers", identify)
	engine.GET("/users/me", b.me)
	engine.POST("/loop", b.loop)
	server := &http.Server{ // the time-outs of the service, since each costs a timer
		Addr: addr, Handler: engine,
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 25 * time.Second, IdleTimeout: 2 * time.Minute,
	}
	context.AfterFunc(ctx, func() { server.Close() })
	return server.ListenAndServe()
}

// identify answers with as many headers as /verify, and as long ones, which say nothing.
func identify(c *gin.Context) {
	h := c.Writer.Header()
	h["Remote-User"] = []string{"user"}
	h["Remote-User-Id"] = []string{uuid.Nil.String()}
	h["Remote-Groups"] = []string{""}
	h["X-Token-Expires"] = []string{"1700000000"}
	h["X-Request-Id"] = []string{"0123456789ABCDEFGHIJKLMNOP"}
	h["X-Content-Type-Options"] = []string{"nosniff"}
	h["Cache-Control"] = []string{"no-store"}
	c.Status(http.StatusNoContent)
}

// me answers with the row of the session whose id is in place of a token.
func (b *bareServer) me(c *gin.Context) {
	id, err := uuid.Parse(strings.TrimPrefix(c.GetHeader("Authorization"), "Bearer "))
	if err == nil {
		var found sessionRow
		if found, err = readSession(c.Request.Context(), b.pool, id); err == nil {
			c.JSON(http.StatusOK, found)
			return
		}
	}
	c.String(http.StatusInternalServerError, err.Error())
}

// loop does a task and answers how often a second.
func (b *bareServer) loop(c *gin.Context) {
	var t task
	if err := c.BindJSON(&t); err != nil {
		return
	}
	rate, err := loop(c.Request.Context(), t.Clients, t.For, func(ctx context.Context, client int) error {
		id := uuid.Nil
		if len(t.Sessions) > 0 {
			id = t.Sessions[client%len(t.Sessions)]
		}
		return b.do(ctx, t.What, id)
	})
	answer := gin.H{"Rate": rate}
	if err != nil {
		answer["Error"] = err.Error()
	}
	c.JSON(http.StatusOK, answer)
}

const (
	taskHash    = "bcrypt"
	taskRead    = "the query"
	taskRefresh = "the transaction"
)

func (b *bareServer) do(ctx context.Context, what string, session uuid.UUID) error {
	switch what {
	case taskHash:
		return bcrypt.CompareHashAndPassword(b.hash, []byte(barePassword))
	case taskRead:
		_, err := readSession(ctx, b.pool, session)
		return err
	default:
		return b.refresh(ctx, session)
	}
}

// refresh reads what decides about a session, and moves it on.
func (b *bareServer) refresh(ctx context.Context, id uuid.UUID) error {
	return pgx.BeginFunc(ctx, b.pool, func(tx pgx.Tx) error {
		found, err := readSession(ctx, tx, id)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, rotateSession, id, found.Counter, (24 * time.Hour).Seconds(), refreshed)
		return err
	})
}

// sessionRow has what the service reads of a session and its user.
type sessionRow struct {
	Salt                            []byte
	Counter                         int64
	RotatedAt, IdleExpires, Expires time.Time
	EndedAt                         *time.Time
	Scope                           *string
	Now                             time.Time
	User                            uuid.UUID
	Username, UsernameKey           string
	DisabledAt                      *time.Time
	TokenVersion                    int64
	CreatedAt, UpdatedAt            time.Time
	MustChange                      bool
	PasswordExpires                 *time.Time
	Roles, Permissions              []string
	ClientID                        *string
	ClientGrants                    []string
	ClientScope                     *string
}

type querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

func readSession(ctx context.Context, q querier, id uuid.UUID) (r sessionRow, err error) {
	err = q.QueryRow(ctx, sessionByID, id).Scan(&r.Salt, &r.Counter, &r.RotatedAt, &r.IdleExpires, &r.Expires, &r.EndedAt, &r.Scope, &r.Now,
		&r.User, &r.Username, &r.UsernameKey, &r.DisabledAt, &r.TokenVersion, &r.CreatedAt, &r.UpdatedAt, &r.MustChange, &r.PasswordExpires, &r.Roles, &r.Permissions,
		&r.ClientID, &r.ClientGrants, &r.ClientScope)
	return r, err
}
