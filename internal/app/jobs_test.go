package app_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"

	"gatehouse.example/internal/asynctest"
	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/auth/authtest"
	"gatehouse.example/internal/dbtest"
)

// backChannel is an app's server that hears of ends.
type backChannel struct {
	*httptest.Server
	heard chan jwt.MapClaims
}

// newBackChannel starts one, and adds its client. hang, if not nil, is waited for before each
// answer.
func newBackChannel(t *testing.T, databaseURL string, hang chan struct{}) *backChannel {
	t.Helper()
	b := &backChannel{heard: make(chan jwt.MapClaims, 100)}
	b.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		claims := jwt.MapClaims{}
		_, _, err := jwt.NewParser().ParseUnverified(r.PostFormValue("logout_token"), claims)
		if err != nil {
			t.Error(err)
		}
		b.heard <- claims
		if hang != nil {
			select {
			case <-hang:
			case <-r.Context().Done():
			}
		}
	}))
	t.Cleanup(b.Close)
	_, err := connect(t, databaseURL).Exec(t.Context(), `
		INSERT INTO clients (client_id, subject, name, grant_types, backchannel_logout_uri)
		VALUES ('app', gen_random_uuid(), 'App', '{password,refresh_token}', $1)`, b.URL)
	must(t, err)
	return b
}

// sessionAt logs a user in at the app. It avoids the cost of hashing.
func sessionAt(t *testing.T, databaseURL string) (user, session uuid.UUID) {
	t.Helper()
	insertUser(t, databaseURL)
	session = uuid.New()
	err := connect(t, databaseURL).QueryRow(t.Context(), `
		INSERT INTO sessions (id, user_id, salt, idle_expires_at, expires_at, client_address, user_agent, client_id)
		SELECT $1, id, decode(repeat('00', 16), 'hex'), now() + interval '1 day', now() + interval '1 day', '', '', 'app'
		FROM users RETURNING user_id`, session).Scan(&user)
	must(t, err)
	return user, session
}

func ban(t *testing.T, databaseURL string) {
	t.Helper()
	_, err := openAdmin(t, databaseURL).Accounts.Disable(t.Context(), authtest.Operator(),
		auth.ByName("alice"), nil)
	must(t, err)
}

func (b *backChannel) want(t *testing.T, user, session uuid.UUID) {
	t.Helper()
	if claims := <-b.heard; claims["sid"] != session.String() || claims["sub"] != user.String() ||
		claims["aud"] != "app" {
		t.Errorf("the app heard %v", claims)
	}
}

// Whoever is banned must be out of every app, and not only here.
func TestABanReachesAppsAsALogoutDoes(t *testing.T) {
	t.Parallel()
	for name, pooled := range map[string]bool{"": false, "behind a transaction pooler": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			databaseURL := dbtest.New(t)
			app := newBackChannel(t, databaseURL, nil)
			user, session := sessionAt(t, databaseURL)
			through, flags := databaseURL, []string(nil)
			if pooled {
				through, flags = dbtest.Pooler(t, databaseURL), []string{"--database-exec-mode=exec"}
			}
			r := boot(t, through, flags...)
			ban(t, databaseURL)
			app.want(t, user, session)
			asynctest.Await(t, "the count", func() bool {
				return strings.Contains(r.onOps("/metrics").body,
					`gatehouse_backchannel_logouts_total{outcome="delivered"} 1`)
			})
		})
	}
}

// Jobs that nobody works off are told by no error: the operator sees them in these figures alone.
func TestTheMetricsShowWhatWaitsInAQueueAndForHowLong(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.New(t)
	_, err := connect(t, databaseURL).Exec(t.Context(), `
		INSERT INTO river_job (kind, args, queue, max_attempts, state, created_at, scheduled_at)
		VALUES ('backchannel_logout', '{}', 'backchannel_logout', 10, 'retryable', now() - interval '1 hour', now() + interval '1 day')`)
	must(t, err)
	r := boot(t, databaseURL)
	shown := r.onOps("/metrics").body
	if !strings.Contains(shown, `gatehouse_jobs_waiting{queue="backchannel_logout"} 1`) ||
		!strings.Contains(shown, `gatehouse_job_oldest_seconds{queue="backchannel_logout"} 36`) {
		t.Errorf("%s", shown)
	}
}

// An app that hangs must not hold up a deployment, and the next replica must go on.
func TestAReplicaStopsThoughAnAppHangsAndTheNextOneDelivers(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.New(t)
	hang := make(chan struct{})
	app := newBackChannel(t, databaseURL, hang)
	user, session := sessionAt(t, databaseURL)
	first := boot(t, databaseURL)
	ban(t, databaseURL)
	app.want(t, user, session)
	first.stop()
	close(hang)
	boot(t, databaseURL)
	app.want(t, user, session)
	conn := connect(t, databaseURL)
	asynctest.Await(t, "the job to be done", func() bool {
		var done bool
		must(t, conn.QueryRow(t.Context(),
			"SELECT bool_and(state = 'completed') FROM river_job").Scan(&done))
		return done
	})
}

// Every end is a row. Without an end of their own, they would fill the database.
func TestJobsThatAreDoneAreDeleted(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.New(t)
	conn := connect(t, databaseURL)
	_, err := conn.Exec(t.Context(), `
		INSERT INTO river_job (kind, args, queue, max_attempts, state, finalized_at)
		SELECT 'backchannel_logout', '{}', 'backchannel_logout', 10, state::river_job_state, now() - age
		FROM (VALUES ('completed', interval '61 minutes'), ('completed', '59 minutes'),
			('discarded', '169 hours'), ('discarded', '167 hours'),
			('cancelled', '169 hours'), ('cancelled', '167 hours')) j (state, age)`)
	must(t, err)
	boot(t, databaseURL)
	asynctest.Await(t, "the old ones to be deleted", func() bool {
		var left int
		must(t, conn.QueryRow(t.Context(), "SELECT count(*) FROM river_job").Scan(&left))
		return left == 3
	})
}

// Requests must not wait for jobs that cannot be had, and the log must not be full of them.
func TestTheServiceServesThoughItMayNotTouchJobs(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.New(t)
	owner := connect(t, dbtest.Owner(t, databaseURL))
	_, err := owner.Exec(t.Context(), "REVOKE ALL ON river_queue FROM "+dbtest.ServiceRole)
	must(t, err)
	app := newBackChannel(t, databaseURL, nil)
	user, session := sessionAt(t, databaseURL)
	r := boot(t, databaseURL)
	asynctest.Await(t, "a warning",
		func() bool { return len(r.log.lines(t, "jobs do not start")) > 0 })
	ban(t, databaseURL)
	_, err = owner.Exec(t.Context(), "GRANT ALL ON river_queue TO "+dbtest.ServiceRole)
	must(t, err)
	app.want(t, user, session)
}

// What a killed replica had in hand is given back by any replica, and one that sends no mails must
// not throw them away.
func TestAReplicaWithoutARelayKeepsTheMailsOfAKilledOne(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.New(t)
	conn := connect(t, databaseURL)
	_, err := conn.Exec(t.Context(), `
		INSERT INTO river_job (kind, args, queue, max_attempts, state, attempt, attempted_at, attempted_by)
		VALUES ('mail', '{"id": "7d444840-9dc0-11d1-b245-5ffdce74fad2"}', 'mail', 25, 'running', 1, now() - interval '1 hour', '{killed}')`)
	must(t, err)
	boot(t, databaseURL)
	var state string
	asynctest.Await(t, "the job to be given back", func() bool {
		must(t, conn.QueryRow(t.Context(), "SELECT state FROM river_job").Scan(&state))
		return state != "running"
	})
	if state != "available" && state != "retryable" {
		t.Errorf("the job is %s", state)
	}
}
