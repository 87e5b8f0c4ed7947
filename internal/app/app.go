// Package app wires the parts of Gatehouse together and owns the life of a replica: start, ready, drain, stop.
package app

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"gatehouse/db"
	"gatehouse/internal/auth"
	"gatehouse/internal/config"
	"gatehouse/internal/httpapi"
	"gatehouse/internal/password"
	"gatehouse/internal/revocation"
	"gatehouse/internal/token"
)

// gcPercent lets garbage grow to four times what is in use before it is collected. What is in use is small, a few MiB
// and the caches, so that by Go's default a busy replica would collect dozens of times a second: a tenth of its time. GOMEMLIMIT holds all the same.
const gcPercent = 400

// Options are what a process knows besides its settings.
type Options struct {
	Log     *slog.Logger
	Version string
	// Cores is the number of processors that the process may use. As many threads hash passwords, and Go's
	// scheduler is given twice as many, so that requests need not wait until a hash is done.
	Cores int
	// Started, if not nil, is called when the service is ready, with the addresses that it listens on.
	Started func(public, ops net.Addr)
	// Clock is time.Now, but for tests of what expires.
	Clock func() time.Time
	// After is time.After, but for tests of the drain: theirs says when a pause of it is over.
	After func(time.Duration) <-chan time.Time
}

// Run is a replica. It serves until ctx ends, and then drains: /readyz says no, requests are taken for another
// SHUTDOWN_DELAY, and those under way get SHUTDOWN_GRACE to end.
func Run(ctx context.Context, s config.Serve, o Options) (err error) {
	if err := s.Validate(); err != nil {
		return err
	}
	runtime.GOMAXPROCS(2 * o.Cores)
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}

	store, err := openStore(ctx, s.Database)
	if err != nil {
		return err
	}
	defer store.Close()
	ring, err := keyRing(s.Passwords)
	if err != nil {
		return err
	}
	metrics := newMetrics(o.Version, store)
	lane := newLane(s, o.Cores, metrics)
	defer lane.Close()
	warnOfPriority(o.Log, lane.Stats())
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.After == nil {
		o.After = time.After
	}
	revoked := newRevocations(store, s.AccessTokenLifetime(), s.DatabaseStatementTimeout, o.Clock, o.Log, metrics)
	defer revoked.stop()
	service, err := newService(s, o, store, ring, lane, revoked.set)
	if err != nil {
		return err
	}
	revoked.options.Unlocked = service.ForgetRefusals
	keys := newSigningKeys(service, o.Log, metrics)
	defer keys.stop()
	revoked.options.KeysChanged = keys.changed
	cursors, err := cursorKeys(s)
	if err != nil {
		return err
	}
	api, err := httpapi.New(httpapi.Options{
		Service: service, Cursors: cursors, Clock: o.Clock, Log: o.Log, Metrics: metrics, TrustedProxies: s.TrustedProxies,
		ForwardedHeader: s.ForwardedHeader, Issuer: s.Issuer, RegistrationOpen: s.Registration == "open", RequestTimeout: s.RequestTimeout,
	})
	if err != nil {
		return err
	}

	ready := &readiness{schema: store.SchemaVersion}
	ops, err := listen(ctx, s.OpsAddr, direct, opsHandler(ready, metrics), s, o.Log)
	if err != nil {
		return err
	}
	defer func() {
		_, stopErr := ops.stop(func() {}, 0)
		err = errors.Join(err, stopErr)
	}()

	if err := awaitDatabase(ctx, store, ring, keys, ready, o.Log); err != nil {
		if ctx.Err() != nil {
			return nil // stopped before it was ready
		}
		return err
	}
	keys.start(ctx)
	if err := revoked.start(ctx); err != nil {
		return nil // stopped before it was ready
	}
	defer startUpkeep(ctx, append(jobs(store), keys.upkeep()), o.Log, metrics)()
	draining := &atomic.Bool{}
	wrap := direct
	if s.ProxyProtocol {
		wrap = behind(s.TrustedProxies)
	}
	public, err := listen(ctx, s.ListenAddr, wrap, closeConnections(draining, api), s, o.Log)
	if err != nil {
		return err
	}
	ready.set(true)
	debug.FreeOSMemory() // what the start has left would stay until the first collection, which an idle replica never comes to
	o.Log.Info("ready", "version", o.Version, "public", public.addr.String(), "ops", ops.addr.String())
	if o.Started != nil {
		o.Started(public.addr, ops.addr)
	}

	select {
	case <-ctx.Done():
	case err = <-public.failed:
	case err = <-ops.failed:
	}
	ready.set(false)
	draining.Store(true)
	if err == nil {
		o.Log.Info("draining", "delay", s.ShutdownDelay.String(), "grace", s.ShutdownGrace.String())
		<-o.After(s.ShutdownDelay)
	}
	settle := func() { <-o.After(min(s.ShutdownDelay, 500*time.Millisecond)) }
	cutOff, stopErr := public.stop(settle, s.ShutdownGrace)
	if cutOff {
		o.Log.Warn("requests were cut off", "grace", s.ShutdownGrace.String())
	}
	return errors.Join(err, stopErr)
}

func openStore(ctx context.Context, s config.Database) (*db.DB, error) {
	url, err := s.URL()
	if err != nil {
		return nil, err
	}
	// The pool outlives ctx, which ends when the drain begins.
	return db.Open(context.WithoutCancel(ctx), db.Options{
		URL: url, MaxConns: s.DatabaseMaxConns, StatementTimeout: s.DatabaseStatementTimeout,
	})
}

func keyRing(s config.Passwords) (*password.KeyRing, error) {
	peppers, err := s.Peppers()
	if err != nil {
		return nil, err
	}
	ring, err := password.NewKeyRing(peppers)
	if err != nil {
		return nil, &config.Error{Setting: "PASSWORD_PEPPER", Problem: err.Error()}
	}
	return ring, nil
}

func newLane(s config.Serve, cores int, r prometheus.Registerer) *password.Lane {
	queue := s.PasswordQueue
	if queue == 0 {
		queue = 16 * cores
	}
	waited := laneWait(r)
	lane := password.NewLane(password.LaneOptions{Threads: cores, Queue: queue, Waited: waited})
	laneMetrics(r, lane.Stats)
	return lane
}

// warnOfPriority tells what the operator can do nothing about later: a sandbox that forbids setpriority(2) makes a
// flood of logins everybody's.
func warnOfPriority(log *slog.Logger, lane password.LaneStats) {
	if lane.LowPriority < lane.Threads {
		log.Warn("passwords are hashed at normal priority: logins can slow other requests",
			"threads", lane.Threads, "low_priority", lane.LowPriority)
	}
}

func newService(s config.Serve, o Options, store *db.DB, passwordKeys *password.KeyRing, lane *password.Lane, revoked *revocation.Set) (*auth.Service, error) {
	keys, err := s.Keys()
	if err != nil {
		return nil, err
	}
	ring, err := token.SecretRing(keys) // until the service has read what it is
	if err != nil {
		return nil, err
	}
	policy, err := auth.NewKeyPolicy(token.Algorithm(s.Algorithm), s.KeyRotation(), keys)
	if err != nil {
		return nil, err
	}
	tokens, err := token.NewIssuer(token.Settings{
		Ring: ring, Issuer: s.Issuer, Audience: s.Audience,
		Lifetime: s.AccessTokenLifetime(),
	})
	if err != nil {
		return nil, err
	}
	refresh, err := token.NewRefreshKeys(keys)
	if err != nil {
		return nil, err
	}
	services, err := token.NewServiceKeys(keys, s.Issuer)
	if err != nil {
		return nil, err
	}
	hasher, err := password.NewHasher(lane, passwordKeys, s.BcryptCost)
	if err != nil {
		return nil, err
	}
	limiter, err := auth.NewLimiter(rateLimits(s.Limits), store, keys, o.Clock)
	if err != nil {
		return nil, err
	}
	const day = 24 * time.Hour
	return auth.NewService(auth.Parts{
		Store: store, Hasher: hasher, Policy: password.Policy{MinLength: s.PasswordMinLength}, Tokens: tokens,
		TokenCache: s.TokenCacheSize, Revocations: auth.NewChecker(revoked, store, o.Clock, s.RevocationMaxStaleness),
		Services: services, Refresh: refresh,
		Limits: auth.SessionLimits{
			Idle: time.Duration(s.RefreshTokenIdleDays) * day, Absolute: time.Duration(s.RefreshTokenExpireDays) * day,
			Grace: time.Duration(s.RefreshGraceSeconds) * time.Second, PerUser: s.MaxSessions,
		},
		Limiter: limiter, Clock: o.Clock, SecretLifetime: s.InitialSecretLifetime(),
		Keys: policy,
	}), nil
}

func cursorKeys(s config.Serve) (*token.CursorKeys, error) {
	keys, err := s.Keys()
	if err != nil {
		return nil, err
	}
	return token.NewCursorKeys(keys)
}

// awaitDatabase waits until the database answers and has the schema, so that a service may be started before
// either, and then makes sure of the password keys, of room for the audit log and of the signing keys.
func awaitDatabase(
	ctx context.Context, store *db.DB, ring *password.KeyRing, keys *signingKeys, ready *readiness, log *slog.Logger,
) error {
	for {
		attempt, cancel := context.WithTimeout(ctx, 5*time.Second)
		err := ready.checkSchema(attempt)
		if err == nil {
			err = auth.ClaimPasswordKeys(attempt, store, ring)
		}
		if err == nil {
			err = prepareAudit(attempt, store, log)
		}
		cancel()
		if err == nil {
			err = keys.load(ctx)
		}
		if !errors.Is(err, auth.ErrUnavailable) && !errors.Is(err, errSchemaBehind) && !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
		log.Warn("waiting for the database", "error", err.Error())
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Second):
		}
	}
}

func prepareAudit(ctx context.Context, store *db.DB, log *slog.Logger) error {
	if err := store.AddEventPartitions(ctx); err != nil {
		return err
	}
	mayChange, err := store.MayChangeEvents(ctx)
	if mayChange {
		log.Warn("the service's role of PostgreSQL may change the audit log: see SERVICE_ROLE of gatehouse migrate")
	}
	return err
}
