// Package app wires the parts of Gatehouse together and owns the life of a replica: start, ready,
// drain, stop.
package app

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"gatehouse.example/db"
	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/backchannel"
	"gatehouse.example/internal/config"
	"gatehouse.example/internal/cursor"
	"gatehouse.example/internal/doctor"
	"gatehouse.example/internal/edge"
	"gatehouse.example/internal/httpapi"
	"gatehouse.example/internal/mail"
	"gatehouse.example/internal/outbox"
	"gatehouse.example/internal/password"
	"gatehouse.example/internal/revocation"
)

// gcPercent lets garbage grow to four times what is in use before it is collected. Only a few MiB
// and the caches are in use. By Go's default, a busy replica would collect dozens of times a
// second, and spend a tenth of its time on it. GOMEMLIMIT still holds.
const gcPercent = 400

// Options are what a process knows besides its settings.
type Options struct {
	Log     *slog.Logger
	Version string
	// Cores is the number of processors that the process may use. As many threads hash passwords.
	// Go's scheduler gets twice as many, so that requests need not wait until a hash is done.
	Cores int
	// Started, if not nil, is called when the service is ready, with the addresses on which it
	// listens.
	Started func(public, ops net.Addr)
	// Relay takes the mails, in place of the relay of SMTP_URL. If there is neither, none are sent.
	Relay mail.Relay
	// Clock is [time.Now], except in tests of what expires.
	Clock func() time.Time
	// After is [time.After], except in tests of the drain, which decide when its pause is over.
	After func(time.Duration) <-chan time.Time
}

// Run runs a replica. It serves until ctx ends, and then drains. During the drain /readyz says no,
// requests are taken for another SHUTDOWN_DELAY, and those under way get SHUTDOWN_GRACE to end.
func Run(ctx context.Context, s config.Serve, o Options) (err error) {
	if err := s.Validate(); err != nil {
		return err
	}
	o.setDefaults()
	tuneRuntime(o.Cores)

	store, err := openStore(ctx, s.Database)
	if err != nil {
		return err
	}
	defer store.Close()
	ring, err := keyRing(s.Pepper)
	if err != nil {
		return err
	}
	metrics := newMetrics(o.Version, store)
	lane := newLane(s, o.Cores, metrics)
	defer lane.Close()
	revoked := revocation.NewSet(o.Clock(), s.AccessTokenLifetime())
	keys, err := s.Keychain()
	if err != nil {
		return err
	}
	rules, err := newRules(s, o, keys, store, ring, lane, revoked)
	if err != nil {
		return err
	}
	handler, err := newHandler(s, o, rules, cursor.New(keys), metrics)
	if err != nil {
		return err
	}

	ready := &readiness{schema: store.SchemaVersion, sign: rules.Signer.MaySign}
	ops := newOpsServer(s, ready, metrics, o.Log)
	listener := store.NewListener(o.Log)
	listener.Subscribe(db.Unlocks(rules.Limits.Forget))
	signing := newSigningKeys(rules.keys, listener, o.Log, metrics)
	revocations := newRevocations(revoked, listener, s.DatabaseStatementTimeout, o.Clock, o.Log,
		metrics)
	toldOfMail := countMails(metrics)
	upkeep := newUpkeep(append(jobs(store, giveUpMails(rules.mails, toldOfMail)),
		signing.upkeep(),
		whole("secret_keys", time.Hour, rules.keys.ClaimSecrets), // they are still in use here
		whole("password_costs", time.Minute, func(ctx context.Context) error { // of imported hashes
			return rules.passwords.LoadCosts(ctx, store)
		}),
		job{"unproved_users", time.Minute, 100, rules.Addresses.PruneUnproved},
		whole("audit_refusals", time.Minute, rules.Audit.TellCounted),
		job{"invitations", time.Minute, 100, rules.Invitations.Prune},
		whole("session_uses", time.Minute, rules.Browsers.WriteUses),
	), o.Log, metrics)
	mails, closeRelay, err := newMailWorker(s, o, rules.mails, toldOfMail)
	if err != nil {
		return err
	}
	defer closeRelay()
	queued, err := newQueuedJobs(store, backchannel.NewWorker(backchannel.Options{
		Clients: store, Tokens: rules.IDTokens, Clock: o.Clock, Log: o.Log,
		Told: countLogouts(metrics),
	}), mails, o.Log)
	if err != nil {
		return err
	}
	metrics.MustRegister(newQueueMetrics(func(ctx context.Context) ([]db.JobQueue, error) {
		return store.WaitingJobs(ctx, []string{backchannel.Queue, outbox.Queue})
	}, o.Clock, slog.New(newSparse(o.Log.Handler(), o.Clock))))
	public := newPublicServer(s, o, closeConnections(&ready.draining, handler))
	renewal := component(step{})
	if own, err := newCertificate(s, metrics); err != nil {
		return err
	} else if own != nil {
		public.http.TLSConfig, renewal = own.config(), own.follow(o.Log)
	}

	parts := &components{}
	defer func() { err = errors.Join(err, parts.stop()) }()
	err = parts.start(ctx,
		ops,
		step{atStart: func(ctx context.Context) error {
			return awaitDatabase(ctx, store, rules, signing, startChecks(s, o, store, rules, lane), o.Log)
		}},
		signing,
		&background{run: listener.Run},
		revocations,
		// what was counted in the last minute
		step{atStop: func() { tellCounted(ctx, rules.Audit, o.Log) }},
		upkeep,
		queued,
		renewal,
		public,
	)
	switch {
	case err != nil && ctx.Err() != nil:
		return nil // stopped before it was ready
	case err != nil:
		return err
	}
	ready.serving.Store(true)
	o.announce(public.addr(), ops.addr(), rules.keys.SecretIDs())
	select {
	case <-ctx.Done():
	case err = <-public.failed:
	case err = <-ops.failed:
	}
	ready.drain()
	if err == nil {
		o.Log.Info("draining", "delay", s.ShutdownDelay.String(), "grace", s.ShutdownGrace.String())
		<-o.After(s.ShutdownDelay)
	}
	return err
}

func (o *Options) setDefaults() {
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.After == nil {
		o.After = time.After
	}
}

func tuneRuntime(cores int) {
	runtime.GOMAXPROCS(2 * cores)
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
}

// announce says that the replica is ready.
func (o *Options) announce(public, ops net.Addr, secretIDs []string) {
	// Memory that only the start needed would stay until the first collection. An idle replica
	// never comes to one.
	debug.FreeOSMemory()
	o.Log.Info("ready", "version", o.Version, "public", public.String(), "ops", ops.String(),
		"secret_keys", secretIDs)
	if o.Started != nil {
		o.Started(public, ops)
	}
}

// newHandler returns what answers at the public port.
func newHandler(
	s config.Serve, o Options, rules *rules, cursors cursor.Cursors, metrics prometheus.Registerer,
) (http.Handler, error) {
	outermost, err := edge.New(edge.Options{
		Log: o.Log, Metrics: metrics, TrustedProxies: s.TrustedProxies,
		ForwardedHeader: s.ForwardedHeader, Issuer: s.Issuer, RequestTimeout: s.RequestTimeout,
		CORSOrigins: s.CORSOrigins, CookieDomain: s.CookieDomain,
	})
	if err != nil {
		return nil, err
	}
	people, err := newWeb(s, o, rules, outermost)
	if err != nil {
		return nil, err
	}
	api, err := httpapi.New(httpapi.Options{
		Edge: outermost, Rules: rules.Rules, Cursors: cursors, Clock: o.Clock, Metrics: metrics,
		RegistrationOpen: s.Registration == "open", PasswordGrant: s.PasswordGrant == "on",
		MailOn:   mailOn(s, o),
		LoginFor: people.LoginFor, LanguageFor: people.LanguageFor,
		Email: auth.EmailMode(s.Email),
	})
	if err != nil {
		return nil, err
	}
	return outermost.Serve(
		people.Fallbacks(api.Fallbacks()), append(api.Routes(), people.Routes()...)...,
	), nil
}

func newOpsServer(
	s config.Serve, ready *readiness, metrics *prometheus.Registry, log *slog.Logger,
) *server {
	atOnce := drain{settle: func() {}, cutOff: func() {}}
	return newServer(s.OpsAddr, direct, opsHandler(ready, metrics), atOnce, s.RequestTimeout, log)
}

func newPublicServer(s config.Serve, o Options, h http.Handler) *server {
	wrap := direct
	if s.ProxyProtocol {
		wrap = behind(s.TrustedProxies)
	}
	return newServer(s.ListenAddr, wrap, h, drain{
		settle: func() { <-o.After(min(s.ShutdownDelay, 500*time.Millisecond)) },
		grace:  s.ShutdownGrace,
		cutOff: func() { o.Log.Warn("requests were cut off", "grace", s.ShutdownGrace.String()) },
	}, s.RequestTimeout, o.Log)
}

func openStore(ctx context.Context, s config.Database) (*db.DB, error) {
	url, err := s.URL()
	if err != nil {
		return nil, err
	}
	// The pool outlives ctx, which ends when the drain begins.
	return db.Open(context.WithoutCancel(ctx), db.Options{
		URL: url, Renew: s.Renewed, MaxConns: s.DatabaseMaxConns,
		StatementTimeout: s.DatabaseStatementTimeout,
		Pooled:           s.DatabaseExecMode == config.ExecModeExec,
	})
}

func keyRing(s config.Pepper) (*password.KeyRing, error) {
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

// awaitDatabase waits until the database answers and has the schema, so that a service may be
// started before either. Then it makes sure that there are the password keys, room in the audit
// log, and the signing keys. An error that no wait can mend, such as a wrong password, is returned
// at once.
func awaitDatabase(
	ctx context.Context, store *db.DB, rules *rules, keys *signingKeys, checks []doctor.Check,
	log *slog.Logger,
) error {
	for {
		attempt, cancel := context.WithTimeout(ctx, 5*time.Second)
		warnings, err := doctor.Require(attempt, checks)
		for _, claim := range []func(context.Context) error{
			rules.peppers.Claim,
			func(ctx context.Context) error { return rules.passwords.LoadCosts(ctx, store) },
			rules.factors.ClaimRP,
			store.AddEventPartitions,
		} {
			if err == nil {
				err = claim(attempt)
			}
		}
		cancel()
		if err == nil {
			err = keys.begin(ctx)
		}
		late := errors.Is(err, errSchemaBehind) || errors.Is(err, context.DeadlineExceeded)
		if err == nil || db.Hopeless(err) && !late {
			for _, w := range warnings {
				log.Warn(w.Text())
			}
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
