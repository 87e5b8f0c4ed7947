package app

import (
	"context"
	"crypto/x509"
	"io/fs"
	"log/slog"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/crypto/bcrypt"

	"gatehouse.example/db"
	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/backchannel"
	"gatehouse.example/internal/config"
	"gatehouse.example/internal/cursor"
	"gatehouse.example/internal/doctor"
	"gatehouse.example/internal/outbox"
	"gatehouse.example/internal/password"
	"gatehouse.example/internal/revocation"
	"gatehouse.example/internal/token"
)

// Examination is what [Examine] knows besides the settings of the service.
type Examination struct {
	Options
	SecretFiles map[string]string // those that secrets come from, by setting
	Via         string            // a URL that leads through the proxy; "" for none
	Roots       *x509.CertPool    // of its certificate; nil for those of the system
}

// Examine looks for what is wrong with an installation, and tells each finding. It changes nothing,
// and the service may run meanwhile.
func Examine(
	ctx context.Context, s config.Serve, e Examination, tell func(doctor.Finding) error,
) (failed bool, err error) {
	e.setDefaults()
	e.Log = slog.New(slog.DiscardHandler)
	lane := password.NewLane(password.LaneOptions{Threads: e.Cores, Queue: e.Cores})
	defer lane.Close()
	store, rules, err := e.wire(ctx, s, lane)
	if store != nil {
		defer store.Close()
	}
	settings := doctor.Unless(err, "docs/settings.md has every setting", "they can be used")
	checks := slices.Concat(
		[]doctor.Check{{Name: ofSettings, Look: func(context.Context) doctor.Finding { return settings }}},
		e.ofSettings(s),
		startChecks(s, e.Options, store, rules, lane),
		e.ofDatabase(s, store, rules),
		e.ofMachine(s, lane),
		e.ofWay(s),
	)
	return doctor.Run(ctx, checks, tell)
}

// wire makes the parts of a replica that are asked. It connects to nothing.
func (e Examination) wire(
	ctx context.Context, s config.Serve, lane *password.Lane,
) (*db.DB, *rules, error) {
	if err := s.Validate(); err != nil {
		return nil, nil, err
	}
	ring, err := keyRing(s.Pepper)
	if err != nil {
		return nil, nil, err
	}
	keys, err := s.Keychain()
	if err != nil {
		return nil, nil, err
	}
	store, err := openStore(ctx, s.Database)
	if err != nil {
		return nil, nil, err
	}
	s.BreachedPasswords = "off" // a check of its own; to read all of the file takes long
	revoked := revocation.NewSet(e.Clock(), s.AccessTokenLifetime())
	rules, err := newRules(s, e.Options, keys, store, ring, lane, revoked)
	if err == nil { // it reads files too
		_, err = newHandler(s, e.Options, rules, cursor.New(keys), prometheus.NewRegistry())
	}
	return store, rules, err
}

// ofSettings are the checks of what the settings say, for which nobody is asked.
func (e Examination) ofSettings(s config.Serve) []doctor.Check {
	return []doctor.Check{
		{Name: "SECRET_KEY", Needs: ofSettings, Look: func(context.Context) doctor.Finding {
			keys, _ := s.Keychain() // which is valid, as the settings are
			return doctor.Secret("SECRET_KEY", keys.Secrets())
		}},
		{Name: "PASSWORD_PEPPER", Needs: ofSettings, Look: func(context.Context) doctor.Finding {
			peppers, _ := s.Peppers()
			return doctor.Secret("PASSWORD_PEPPER", peppers)
		}},
		{Name: "secret files", Look: func(context.Context) doctor.Finding {
			files := slices.Sorted(maps.Values(e.SecretFiles))
			if s.TLSKeyFile != "" {
				files = append(files, s.TLSKeyFile)
			}
			open := slices.DeleteFunc(slices.Clone(files), func(file string) bool { return !isOpen(file) })
			return doctor.OpenFiles(files, open)
		}},
		{Name: "issuer", Needs: ofSettings, Look: func(context.Context) doctor.Finding {
			return doctor.Issuer(s.Issuer, config.IsLoopback)
		}},
		{Name: "proxies", Needs: ofSettings, Look: func(context.Context) doctor.Finding {
			return doctor.Proxies(s.TrustedProxies, s.Issuer, s.TLSCertFile != "")
		}},
		{Name: "TLS_CERT_FILE", Needs: ofSettings, Look: func(context.Context) doctor.Finding {
			own, err := newCertificate(s, prometheus.NewRegistry())
			switch {
			case err != nil:
				return doctor.Certificate(err, time.Time{}, e.Clock())
			case own == nil:
				return doctor.Good("not set, so the service does not end TLS")
			}
			leaf := own.held.Load().Leaf
			issuer, _ := url.Parse(s.Issuer)
			return doctor.Certificate(leaf.VerifyHostname(issuer.Hostname()), leaf.NotAfter, e.Clock())
		}},
		{Name: "leaked passwords", Needs: ofSettings, Look: func(context.Context) doctor.Finding {
			filter, err := openBreached(s.BreachedPasswords)
			if err == nil && filter == nil {
				return doctor.Good("BREACHED_PASSWORDS is off")
			}
			return doctor.Unless(err, "make the file by `gatehouse passwords build`, and see that the service may read it",
				"the file of BREACHED_PASSWORDS can be read")
		}},
	}
}

// isOpen reports whether everybody on the machine can read a file. They must be able to go through
// each folder above it.
func isOpen(file string) bool {
	file, err := filepath.EvalSymlinks(file)
	if err == nil {
		file, err = filepath.Abs(file)
	}
	if err != nil {
		return false
	}
	for needed := fs.FileMode(0o004); ; file, needed = filepath.Dir(file), 0o001 {
		info, err := os.Stat(file)
		if err != nil || info.Mode()&needed == 0 {
			return false
		}
		if file == filepath.Dir(file) {
			return true
		}
	}
}

// ofDatabase are the checks besides those of the start for which the database is asked.
func (e Examination) ofDatabase(s config.Serve, store *db.DB, rules *rules) []doctor.Check {
	server := func(name string, judge func(doctor.Server) doctor.Finding) doctor.Check {
		return doctor.Check{Name: name, Needs: ofSchema, Look: ofServer(store, e.Options, judge)}
	}
	return []doctor.Check{
		server("PostgreSQL", func(s doctor.Server) doctor.Finding {
			return doctor.PostgreSQL(s, e.Clock())
		}),
		server("isolation", doctor.Isolation),
		server("clock", doctor.Clock),
		server("encryption", doctor.Encryption),
		server("connections", doctor.Connections),
		{Name: "signing keys", Needs: ofSchema, Look: asked(
			func(ctx context.Context) ([]auth.SigningKey, error) { return rules.keys.Stored(ctx) },
			func(stored []auth.SigningKey) doctor.Finding {
				return doctor.SigningKeys(signingFacts(stored, rules.keys), s.KeyRotation(), e.Clock())
			},
		)},
		{Name: "upkeep", Needs: ofSchema, Look: asked(
			func(ctx context.Context) (doctor.Growth, error) {
				// a day later than upkeep, since no replica may have run for some time
				return store.Growth(ctx, keepSessions+24*time.Hour, keepRevocations+24*time.Hour)
			},
			func(g doctor.Growth) doctor.Finding { return doctor.Upkeep(g, e.Clock()) },
		)},
		{Name: "jobs", Needs: ofSchema, Look: asked(
			func(ctx context.Context) ([]db.JobQueue, error) {
				return store.WaitingJobs(ctx, []string{backchannel.Queue, outbox.Queue})
			},
			func(waiting []db.JobQueue) doctor.Finding {
				var queues []doctor.Queue
				for _, q := range waiting {
					queues = append(queues, doctor.Queue(q))
				}
				return doctor.Jobs(queues)
			},
		)},
	}
}

// ofMachine are the checks of what this machine can do, and reach besides the database.
func (e Examination) ofMachine(s config.Serve, lane *password.Lane) []doctor.Check {
	return []doctor.Check{
		{Name: "password hashing", Needs: ofSettings, Look: func(ctx context.Context) doctor.Finding {
			var took time.Duration
			var failed error
			err := lane.Do(ctx, "", func() {
				began := time.Now()
				_, failed = bcrypt.GenerateFromPassword([]byte("a password"), s.BcryptCost)
				took = time.Since(began)
			})
			if err == nil {
				err = failed // of work that has ended
			}
			if err != nil {
				return doctor.Broken(err, "lower BCRYPT_COST")
			}
			return doctor.Hashing(took, e.Cores)
		}},
		{Name: "mail", Needs: ofSettings, Look: func(ctx context.Context) doctor.Finding {
			relay, err := NewRelay(s.Mail, nil)
			if relay != nil {
				err = relay.Check(ctx)
			}
			return doctor.Mail(s.Email, s.SMTPURL != "", err)
		}},
	}
}

func signingFacts(stored []auth.SigningKey, loader *auth.KeyLoader) (keys []doctor.Key) {
	for _, k := range stored {
		key := doctor.Key{
			ID: k.ID, Algorithm: string(k.Algorithm), Use: string(k.Use),
			Fixed: k.Algorithm == token.HS256, Opens: loader.Opens(k),
		}
		if k.State == auth.KeyActive {
			key.Since = k.ActivatedAt
		}
		keys = append(keys, key)
	}
	return keys
}
