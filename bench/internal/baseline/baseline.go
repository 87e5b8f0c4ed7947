// Package baseline serves what the service is compared with: handlers that do next to nothing, and
// bare statements.
package baseline

import (
	"context"
	"net/http"
	"net/netip"
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

	"gatehouse.example/bench/internal/load"
)

// The two statements of a refresh, of which the first is also that of /users/me: SessionByID as it
// is generated, with the columns of a user, and RotateSession of db/queries/sessions.sql. A test
// compares them.
const (
	sessionByID = `
SELECT accounts.id, accounts.username, accounts.username_key, accounts.disabled_at, accounts.token_version, accounts.created_at, accounts.updated_at, accounts.must_change_password, accounts.password_expires_at, accounts.password_changed_at, accounts.roles, accounts.permissions, accounts.email, accounts.email_key, accounts.email_verified_at, accounts.verify_until, accounts.passwordless, accounts.totp, accounts.passkeys, accounts.recovery_codes, accounts.factor_demanded, s.salt, s.counter, s.rotated_at, s.rotated_network, s.repeated_elsewhere_at,
       s.idle_expires_at, s.expires_at, s.ended_at, s.scope, now()::timestamptz AS now,
       s.browser, s.idle_seconds, coalesce(s.auth_time, s.created_at)::timestamptz AS auth_time, s.amr,
       s.openid, s.claims, s.offline, s.resource, s.trusted,
       s.client_id, c.grant_types AS client_grant_types, c.scope AS client_scope,
       c.required_role AS client_required_role,
       coalesce(c.first_party, false)::boolean AS client_first_party,
       c.id_token_algorithm AS client_id_token_algorithm, c.audiences AS client_audiences
FROM sessions s
JOIN accounts ON accounts.id = s.user_id
LEFT JOIN clients c ON c.client_id = s.client_id
WHERE s.id = $1`
	rotateSession = `
WITH rotated AS (
    UPDATE sessions
    SET counter         = counter + 1,
        rotated_at      = clock_timestamp(),
        rotated_network = $5::cidr,
        repeats         = 0,
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

// server is what the service is compared with: the same router, pool and statements, and nothing
// else.
type server struct {
	pool *pgxpool.Pool
	hash []byte
}

const password = "correct horse battery"

const bcryptCost = 12 // the service's default

// Serve runs the bare handlers with the service's settings of process, pool and connections.
func Serve(ctx context.Context, addr string) error {
	runtime.GOMAXPROCS(2 * runtime.NumCPU()) // these two as in app.Run
	debug.SetGCPercent(400)
	config, err := pgxpool.ParseConfig(os.Getenv("DATABASE_URL"))
	if err != nil {
		return err
	}
	config.MaxConns = int32(max(10, 4*runtime.NumCPU())) // as in db.Open
	b := &server{}
	if b.pool, err = pgxpool.NewWithConfig(ctx, config); err != nil {
		return err
	}
	defer b.pool.Close()
	if b.hash, err = bcrypt.GenerateFromPassword([]byte(password), bcryptCost); err != nil {
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
func (b *server) me(c *gin.Context) {
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
func (b *server) loop(c *gin.Context) {
	var t Task
	if err := c.BindJSON(&t); err != nil {
		return
	}
	rate, err := load.ClosedLoop(c.Request.Context(), t.Clients, t.For, func(ctx context.Context, client int) error {
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

func (b *server) do(ctx context.Context, what string, session uuid.UUID) error {
	switch what {
	case TaskHash:
		return bcrypt.CompareHashAndPassword(b.hash, []byte(password))
	case TaskRead:
		_, err := readSession(ctx, b.pool, session)
		return err
	default:
		return b.refresh(ctx, session)
	}
}

// refresh reads what decides about a session, and moves it on.
func (b *server) refresh(ctx context.Context, id uuid.UUID) error {
	return pgx.BeginFunc(ctx, b.pool, func(tx pgx.Tx) error {
		found, err := readSession(ctx, tx, id)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, rotateSession, id, found.Counter, (24 * time.Hour).Seconds(), refreshed, "127.0.0.0/24")
		return err
	})
}

// sessionRow has what the service reads of a session and its user.
type sessionRow struct {
	Salt                            []byte
	Counter                         int64
	RotatedAt, IdleExpires, Expires time.Time
	RotatedNetwork                  *netip.Prefix
	RepeatedElsewhereAt             int64
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
	PasswordChanged                 time.Time
	Roles, Permissions              []string
	Email, EmailKey                 *string
	EmailVerified, VerifyUntil      *time.Time
	Passwordless, TOTP, Demanded    bool
	Passkeys, RecoveryCodes         int32
	ClientID                        *string
	ClientGrants                    []string
	ClientScope                     *string
	ClientFirstParty                bool
	Browser, Offline, Trusted       bool
	IdleSeconds                     *int32
	AuthTime                        time.Time
	Methods, ClientAudiences        []string
	OpenID, Claims, Resource        *string
	ClientRole, ClientAlgorithm     *string
}

type querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

func readSession(ctx context.Context, q querier, id uuid.UUID) (r sessionRow, err error) {
	err = q.QueryRow(ctx, sessionByID, id).Scan(
		&r.User, &r.Username, &r.UsernameKey, &r.DisabledAt, &r.TokenVersion, &r.CreatedAt, &r.UpdatedAt, &r.MustChange, &r.PasswordExpires,
		&r.PasswordChanged, &r.Roles, &r.Permissions, &r.Email, &r.EmailKey, &r.EmailVerified, &r.VerifyUntil,
		&r.Passwordless, &r.TOTP, &r.Passkeys, &r.RecoveryCodes, &r.Demanded,
		&r.Salt, &r.Counter, &r.RotatedAt, &r.RotatedNetwork, &r.RepeatedElsewhereAt, &r.IdleExpires, &r.Expires, &r.EndedAt, &r.Scope, &r.Now,
		&r.Browser, &r.IdleSeconds, &r.AuthTime, &r.Methods, &r.OpenID, &r.Claims, &r.Offline, &r.Resource, &r.Trusted,
		&r.ClientID, &r.ClientGrants, &r.ClientScope, &r.ClientRole, &r.ClientFirstParty, &r.ClientAlgorithm, &r.ClientAudiences)
	return r, err
}
