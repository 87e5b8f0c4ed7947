package auth

import (
	"time"

	"github.com/google/uuid"

	"gatehouse.example/internal/ratelimit"
)

// mostPaced bounds how many sessions, users and actors a replica remembers: about 10 MB.
const mostPaced = 100_000

// Pace bounds how often somebody does what succeeds, costs no password hash, and writes a line of
// the audit log. Each replica counts for itself, since a refresh can afford no further statement.
type Pace struct {
	clock   func() time.Time
	buckets *ratelimit.Buckets[paced]
	session ratelimit.Limit // refreshes of one session
	user    ratelimit.Limit // refreshes of all sessions of one user
	change  ratelimit.Limit // changes by one administrator, or own tokens of one client
	data    ratelimit.Limit // exports of one user's data
	factors ratelimit.Limit // changes of one user's factors
	login   ratelimit.Limit // logins of one user without a password
}

// paced is what a pace belongs to.
type paced struct {
	kind string
	id   uuid.UUID
}

// NewPace makes a Pace for access tokens of a lifetime. A program refreshes once in the lifetime of
// a token. A program that refreshes in each of many tabs, or on each page, does so more often, and
// may. One that refreshes before every request has to wait. All sessions of a user together may
// refresh four times as often as they need to.
func NewPace(limits SessionLimits, lifetime time.Duration, clock func() time.Time) *Pace {
	session := ratelimit.Limit{Burst: 120, Interval: 6 * time.Second}
	needed := 4 * max(limits.PerUser, 1)
	return &Pace{
		clock: clock, buckets: ratelimit.NewBuckets[paced](mostPaced),
		session: session,
		user: ratelimit.Limit{
			Burst:    max(session.Burst, needed),
			Interval: min(session.Interval, lifetime/time.Duration(needed)),
		},
		change: ratelimit.Limit{Burst: 1000, Interval: 100 * time.Millisecond},
		data:   ratelimit.Limit{Burst: 10, Interval: time.Minute},
		// as many as all passkeys of an account, added and taken away
		factors: ratelimit.Limit{Burst: 2 * mostPasskeys, Interval: time.Minute},
		login:   session,
	}
}

// refresh counts a refresh. Errors: [*LimitedError].
func (p *Pace) refresh(session, user uuid.UUID) error {
	return limited(p.buckets.Take(p.clock(),
		ratelimit.Wanted[paced]{Key: paced{"session", session}, Limit: p.session},
		ratelimit.Wanted[paced]{Key: paced{"user", user}, Limit: p.user}))
}

// authorize counts a code, or what a user allows an app. Errors: [*LimitedError].
func (p *Pace) authorize(session, user uuid.UUID) error {
	return limited(p.buckets.Take(p.clock(),
		ratelimit.Wanted[paced]{Key: paced{"codes of a session", session}, Limit: p.session},
		ratelimit.Wanted[paced]{Key: paced{"codes of a user", user}, Limit: p.user}))
}

// act counts a change by an administrator, or an own token of a client. Errors: [*LimitedError].
func (p *Pace) act(actor uuid.UUID) error {
	return limited(p.buckets.Take(
		p.clock(), ratelimit.Wanted[paced]{Key: paced{"actor", actor}, Limit: p.change},
	))
}

// export counts an export of a user's own data, which reads thousands of rows. Errors:
// [*LimitedError].
func (p *Pace) export(user uuid.UUID) error {
	return limited(p.buckets.Take(
		p.clock(), ratelimit.Wanted[paced]{Key: paced{"export", user}, Limit: p.data},
	))
}

// enrol counts a change of a user's factors. Errors: [*LimitedError].
func (p *Pace) enrol(user uuid.UUID) error {
	return limited(p.buckets.Take(
		p.clock(), ratelimit.Wanted[paced]{Key: paced{"factors", user}, Limit: p.factors},
	))
}

// logIn counts a login that was proved without a password. Errors: [*LimitedError].
func (p *Pace) logIn(user uuid.UUID) error {
	return limited(p.buckets.Take(
		p.clock(), ratelimit.Wanted[paced]{Key: paced{"login", user}, Limit: p.login},
	))
}

func limited(wait time.Duration) error {
	if wait > 0 {
		return &LimitedError{RetryAfter: wait}
	}
	return nil
}
