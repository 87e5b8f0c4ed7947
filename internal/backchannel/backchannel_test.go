package backchannel_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"gatehouse.example/db"
	"gatehouse.example/internal/asynctest"
	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/backchannel"
	"gatehouse.example/internal/dbtest"
	"gatehouse.example/internal/token"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

const issuer = "https://login.example"

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// keys are one for each algorithm.
var keys = sync.OnceValues(func() (all []token.Key, err error) {
	for _, algorithm := range token.IDAlgorithms() {
		key, err := token.GenerateIDKey(algorithm)
		if err != nil {
			return nil, err
		}
		all = append(all, key)
	}
	return all, nil
})

// stage is a worker on a database of its own.
type stage struct {
	*testing.T
	store  *db.DB
	conn   *pgx.Conn
	worker *backchannel.Worker
	log    *asynctest.Buffer
	told   chan backchannel.Outcome
}

func newStage(t *testing.T) *stage {
	t.Helper()
	databaseURL := dbtest.New(t)
	store, err := db.Open(context.Background(),
		db.Options{URL: databaseURL, StatementTimeout: time.Minute})
	must(t, err)
	t.Cleanup(store.Close)
	conn, err := pgx.Connect(t.Context(), databaseURL)
	must(t, err)
	t.Cleanup(func() { conn.Close(context.Background()) })
	ids, err := token.NewIDIssuer(issuer, time.Hour)
	must(t, err)
	all, err := keys()
	must(t, err)
	set, err := token.NewIDKeys(all...)
	must(t, err)
	ids.SetKeys(set)
	s := &stage{T: t, store: store, conn: conn, log: &asynctest.Buffer{},
		told: make(chan backchannel.Outcome, 1000)}
	s.worker = backchannel.NewWorker(backchannel.Options{
		Clients: store,
		Tokens:  auth.NewIDTokens(ids, time.Now, func() error { return nil }),
		Clock:   time.Now, Log: slog.New(slog.NewTextHandler(s.log, nil)),
		Told: func(o backchannel.Outcome) { s.told <- o },
	})
	t.Cleanup(s.worker.Close)
	return s
}

// atOnce plans the next try for now.
type atOnce struct{}

func (atOnce) NextRetry(*rivertype.JobRow) time.Time { return time.Now() }

// work has the worker work until the test ends, or until the function that it returns is called.
func (s *stage) work(workers int) (stop func()) {
	s.Helper()
	all := river.NewWorkers()
	river.AddWorker(all, s.worker)
	client, err := s.store.NewJobs(river.Config{
		Workers: all, Queues: map[string]river.QueueConfig{backchannel.Queue: {MaxWorkers: workers}},
		FetchCooldown: time.Millisecond, FetchPollInterval: 5 * time.Millisecond,
		RetryPolicy: atOnce{}, SoftStopTimeout: time.Millisecond, TestOnly: true,
		Logger: slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	must(s, err)
	must(s, client.Start(context.Background()))
	stop = sync.OnceFunc(func() { must(s, client.Stop(context.Background())) })
	s.Cleanup(stop)
	return stop
}

// app is a client whose back channel is a server of the test.
type app struct {
	*httptest.Server
	id     string
	tokens chan string // those that it has got
}

// addApp adds a client. answer is called after the token has been read.
func (s *stage) addApp(id, algorithm string, answer http.HandlerFunc) *app {
	s.Helper()
	a := &app{id: id, tokens: make(chan string, 1000)}
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || r.URL.Path != "/out" || r.URL.RawQuery != "key=canary-9b1e" ||
			r.Header.Get("Content-Type") != "application/x-www-form-urlencoded" {
			s.Errorf("%s %s as %s", r.Method, r.URL, r.Header.Get("Content-Type"))
		}
		body, err := io.ReadAll(r.Body)
		form, notForm := url.ParseQuery(string(body))
		if err != nil || notForm != nil || len(form) != 1 {
			s.Errorf("%q, %v, %v", body, err, notForm)
		}
		a.tokens <- form.Get("logout_token")
		answer(w, r)
	}))
	s.Cleanup(a.Close)
	_, err := s.conn.Exec(s.Context(), `
		INSERT INTO clients (client_id, subject, name, grant_types, id_token_algorithm, backchannel_logout_uri)
		VALUES ($1, gen_random_uuid(), $1, '{password}', $2, $3)`, id, algorithm, a.URL+"/out?key=canary-9b1e")
	must(s, err)
	return a
}

func accept(http.ResponseWriter, *http.Request) {}

// end makes so many sessions of users of their own at an app, and ends them.
func (s *stage) end(clientID string, times int) (user, session uuid.UUID) {
	s.Helper()
	for range times {
		user, session = uuid.New(), uuid.New()
		_, err := s.conn.Exec(s.Context(), `
			WITH u AS (
				INSERT INTO users (id, username, username_key, password_hash)
				SELECT $1, 'u' || n, 'u' || n, '$2b$10$' || repeat('h', 53) FROM replace($1::uuid::text, '-', '') n
			)
			INSERT INTO sessions (id, user_id, salt, idle_expires_at, expires_at, client_address, user_agent, client_id)
			VALUES ($2, $1, decode(repeat('00', 16), 'hex'), now() + interval '1 day', now() + interval '1 day', '', '', $3)`,
			user, session, clientID)
		must(s, err)
	}
	_, err := s.conn.Exec(s.Context(),
		"UPDATE sessions SET ended_at = now(), end_reason = 'logout' WHERE ended_at IS NULL AND client_id = $1", clientID)
	must(s, err)
	return user, session
}

// awaitJobs waits until all jobs are in a state.
func (s *stage) awaitJobs(state rivertype.JobState) {
	s.Helper()
	asynctest.Await(s, "all jobs to be "+string(state), func() bool {
		var others int
		must(s, s.conn.QueryRow(s.Context(),
			"SELECT count(*) FROM river_job WHERE state <> $1", state).Scan(&others))
		return others == 0
	})
}

func (s *stage) wantTold(want ...backchannel.Outcome) {
	s.Helper()
	var got []backchannel.Outcome
	for len(s.told) > 0 {
		got = append(got, <-s.told)
	}
	if !slices.Equal(got, want) {
		s.Fatalf("told of %q, want %q", got, want)
	}
}

// verified returns header and claims, by a library and a key that are not the worker's.
func verified(t testing.TB, raw, algorithm string) (jwt.MapClaims, map[string]any) {
	t.Helper()
	parsed, err := jwt.Parse(raw, func(unverified *jwt.Token) (any, error) {
		all, err := keys()
		for _, key := range all {
			if key.ID() == unverified.Header["kid"] {
				var public jose.JSONWebKey
				err := public.UnmarshalJSON(key.PublicJWK())
				return public.Key, err
			}
		}
		return nil, err
	}, jwt.WithValidMethods([]string{algorithm}))
	must(t, err)
	return parsed.Claims.(jwt.MapClaims), parsed.Header
}

// What an app must check is in OpenID Connect Back-Channel Logout 1.0 §2.6.
func TestAnAppGetsOneLogoutTokenThatItCanCheck(t *testing.T) {
	t.Parallel()
	for _, algorithm := range []string{"RS256", "ES256", "EdDSA"} {
		t.Run(algorithm, func(t *testing.T) {
			t.Parallel()
			s := newStage(t)
			a := s.addApp("app", algorithm, accept)
			user, session := s.end("app", 1)
			s.work(4)
			claims, header := verified(t, <-a.tokens, algorithm)
			if header["typ"] != "logout+jwt" || claims["iss"] != issuer || claims["aud"] != "app" ||
				claims["sub"] != user.String() || claims["sid"] != session.String() {
				t.Errorf("%v %v", header, claims)
			}
			names := slices.Sorted(maps.Keys(claims))
			if want := []string{"aud", "events", "exp", "iat", "iss", "jti", "sid",
				"sub"}; !slices.Equal(names, want) {
				t.Errorf("claims %s, want %s", names, want)
			}
			if events := fmt.Sprint(claims["events"]); events !=
				"map[http://schemas.openid.net/event/backchannel-logout:map[]]" {
				t.Errorf("events %s", events)
			}
			s.awaitJobs(rivertype.JobStateCompleted)
			s.wantTold(backchannel.Delivered)
			if len(a.tokens) > 0 {
				t.Error("it got another one")
			}
		})
	}
}

// Each answer is from a server of its own, which takes the second try.
func TestWhatAnAppDoesNotTakeIsTriedAgain(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		first http.HandlerFunc
		taken bool
	}{
		"200": {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("fine")) }, true},
		"204": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }, true},
		"202": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusAccepted) }, false},
		"400": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadRequest) }, false},
		"404": {http.NotFound, false},
		"503": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }, false},
		"a redirect to what would take it": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		}, false},
		"headers without end": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Much", strings.Repeat("a", 1<<20))
		}, false},
		"a cut connection": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t)
			var once sync.Once
			a := s.addApp("app", "ES256", func(w http.ResponseWriter, r *http.Request) {
				answer := accept
				once.Do(func() { answer = test.first })
				answer(w, r)
			})
			s.end("app", 1)
			s.work(4)
			s.awaitJobs(rivertype.JobStateCompleted)
			if test.taken {
				s.wantTold(backchannel.Delivered)
				return
			}
			s.wantTold(backchannel.Failed, backchannel.Delivered)
			first, _ := verified(t, <-a.tokens, "ES256")
			second, _ := verified(t, <-a.tokens, "ES256")
			if first["jti"] == second["jti"] {
				t.Error("the token of the first try was sent again")
			}
		})
	}
}

// Whoever reads the log, or the database, must not be able to log somebody out of an app, nor find
// the secrets that the app has put into its address.
func TestAnAppThatTakesNothingIsGivenUpWithALineAndWithoutASecret(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	a := s.addApp("app", "ES256", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	_, session := s.end("app", 1)
	stop := s.work(4)
	s.awaitJobs(rivertype.JobStateDiscarded)
	stop()
	var want []backchannel.Outcome
	for range backchannel.Tries - 1 {
		want = append(want, backchannel.Failed)
	}
	s.wantTold(append(want, backchannel.GivenUp)...)
	log := s.log.String()
	if strings.Count(log, "an app was never told") != 1 || !strings.Contains(log, session.String()) ||
		strings.Count(log, "does not take word of ended sessions") != 1 {
		t.Errorf("log:\n%s", log)
	}
	var job string
	must(t, s.conn.QueryRow(t.Context(), "SELECT j::text FROM river_job j").Scan(&job))
	for range backchannel.Tries {
		token := <-a.tokens
		for name, where := range map[string]string{"log": log, "database": job} {
			if strings.Contains(where, token) || strings.Contains(where, "canary") {
				t.Errorf("the %s has a secret:\n%s", name, where)
			}
		}
	}
}

// An app that was down for a while is told once it is back, and the log says both once.
func TestAnAppThatWasDownIsToldWhenItIsBack(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	up := make(chan struct{})
	a := s.addApp("app", "ES256", func(w http.ResponseWriter, _ *http.Request) {
		select {
		case <-up:
		default:
			w.WriteHeader(http.StatusBadGateway)
		}
	})
	s.end("app", 1)
	s.work(4)
	for range 3 {
		<-a.tokens
	}
	close(up)
	s.awaitJobs(rivertype.JobStateCompleted)
	log := s.log.String()
	if strings.Count(log, "does not take word of ended sessions") != 1 ||
		strings.Count(log, "takes word of ended sessions again") != 1 {
		t.Errorf("log:\n%s", log)
	}
}

// An app that hangs would otherwise take every worker for seconds each time.
func TestAnAppThatHangsLeavesTheWorkersToOthers(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	over := make(chan struct{})
	var once sync.Once
	hanging := s.addApp("hanging", "ES256", func(w http.ResponseWriter, _ *http.Request) {
		first := false
		once.Do(func() { first = true })
		if first {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		<-over
	})
	s.Cleanup(func() { close(over) })
	other := s.addApp("other", "ES256", accept)
	s.end("hanging", 1)
	s.work(3)
	<-hanging.tokens // it has failed once
	<-s.told
	s.end("hanging", 20)
	for putOff := 0; putOff < 10; {
		if <-s.told == backchannel.PutOff {
			putOff++
		}
	}
	s.end("other", 5)
	for range 5 {
		<-other.tokens
	}
	if underWay := len(hanging.tokens); underWay > 2 {
		t.Errorf("the app that hangs has %d at once", underWay)
	}
}

// Whatever a replica had in hand when it was stopped is another one's, at once and with all its
// tries.
func TestAStopWaitsForNoAppAndLosesNothing(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	cut := make(chan struct{})
	var once sync.Once
	a := s.addApp("app", "ES256", func(_ http.ResponseWriter, r *http.Request) {
		first := false
		once.Do(func() { first = true })
		if first {
			<-r.Context().Done()
			close(cut)
		}
	})
	s.end("app", 1)
	stop := s.work(1)
	<-a.tokens
	stop()
	<-cut
	var state string
	var tries int
	must(t, s.conn.QueryRow(t.Context(), "SELECT state, attempt FROM river_job").Scan(&state, &tries))
	if state != "available" || tries != 0 {
		t.Errorf("the job is %s after %d tries", state, tries)
	}
	s.work(1)
	<-a.tokens
	s.awaitJobs(rivertype.JobStateCompleted)
	s.wantTold(backchannel.Delivered)
}

// A replica that is killed leaves its job as under way.
func TestWhatAKilledReplicaHadInHandIsDelivered(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	a := s.addApp("app", "ES256", accept)
	s.end("app", 1)
	_, err := s.conn.Exec(t.Context(), `UPDATE river_job
		SET state = 'running', attempt = 1, attempted_at = now() - interval '1 day', attempted_by = '{killed}'`)
	must(t, err)
	s.work(1)
	<-a.tokens
	s.awaitJobs(rivertype.JobStateCompleted)
}

func TestNobodyIsToldWhatNobodyWantsToHearAnyMore(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change  string
		state   rivertype.JobState
		outcome []backchannel.Outcome
	}{
		"the client has no URI any more": {"UPDATE clients SET backchannel_logout_uri = NULL",
			rivertype.JobStateCompleted, nil},
		"there is no such client": {"UPDATE river_job SET args = args || '{\"client_id\": \"gone\"}'",
			rivertype.JobStateCompleted, nil},
		"it has waited for more than a day": {"UPDATE river_job SET created_at = now() - interval '25 hours'",
			rivertype.JobStateCancelled, []backchannel.Outcome{backchannel.GivenUp}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t)
			a := s.addApp("app", "ES256", accept)
			s.end("app", 1)
			_, err := s.conn.Exec(t.Context(), test.change)
			must(t, err)
			s.work(1)
			s.awaitJobs(test.state)
			s.wantTold(test.outcome...)
			if len(a.tokens) > 0 {
				t.Error("the app was told")
			}
		})
	}
}
