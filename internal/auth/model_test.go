package auth_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/auth/authtest"
	"gatehouse.example/internal/token"
)

// model says what should be true of one user's sessions, in the plainest way. Its clock moves only
// when the test moves it.
type model struct {
	now      time.Duration
	disabled bool
	version  int           // counts the changes of the user's token version
	versions map[int64]int // for each token version that was seen, its number
	password int
	sessions []*modelSession
}

type modelSession struct {
	id                   uuid.UUID
	counter              int
	rotated, used        time.Duration
	idleExpires, expires time.Duration
	ended                bool
	refresh              []string // by number
	known                int      // the first number of the current salt
	rotatedBy            int      // index in modelClients
	elsewhere            int      // the counter at which another of them was answered last
	access               []token.Access
}

const (
	modelGrace = 10 * time.Minute
	modelIdle  = 24 * time.Hour
	modelLife  = 48 * time.Hour
	modelMost  = 4
	// margin lies around every boundary. The model does not ask for what is nearer to a boundary
	// than the test takes.
	modelMargin = 5 * time.Minute
)

// modelClients are each in a network of its own.
func modelClients() [2]auth.Caller {
	return [2]auth.Caller{{Address: "192.0.2.1"}, {Address: "198.51.100.1"}}
}

func near(a, b time.Duration) bool { return (a - b).Abs() < modelMargin }

func (m *model) over(s *modelSession) bool {
	return m.disabled || s.ended || m.now >= s.idleExpires || m.now >= s.expires
}

func (m *model) undecided(s *modelSession) bool {
	return near(m.now, s.idleExpires) || near(m.now, s.expires) || near(m.now-s.rotated, modelGrace)
}

func (m *model) endAll(keep *modelSession) {
	for _, s := range m.sessions {
		s.ended = s.ended || s != keep
	}
}

// TestRandomHistoriesEndAsTheModelSays drives the service and the model through the same random
// history.
func TestRandomHistoriesEndAsTheModelSays(t *testing.T) {
	t.Parallel()
	const histories, steps = 4, 2500
	for range histories {
		seed := rand.Uint64()
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			newHistory(t, seed).run(steps)
		})
	}
}

type history struct {
	*clocked
	model
	random *rand.Rand
	user   auth.User
}

func newHistory(t *testing.T, seed uint64) *history {
	c := startClocked(t)
	start := time.Now()
	c.limits = auth.SessionLimits{
		Idle: modelIdle, Absolute: modelLife, Grace: modelGrace, PerUser: modelMost,
		RepeatElsewhere: true,
	}
	// access tokens do not expire here
	c.anew(c.store, authtest.Options{Clock: func() time.Time { return start }})
	h := &history{
		clocked: c, model: model{version: 1, versions: map[int64]int{}},
		random: rand.New(rand.NewPCG(seed, 0)),
	}
	var err error
	h.user, _, err = c.Accounts.Register(
		t.Context(), authtest.Operator(),
		auth.NewAccount{Username: "alice", Password: passwordOf(0)},
	)
	must(t, err)
	return h
}

func passwordOf(n int) string { return fmt.Sprintf("a good password, the %dth", n) }

func (h *history) run(steps int) {
	for n := range steps {
		name := h.step()
		if h.Failed() {
			h.Fatalf("at step %d, %s", n, name)
		}
	}
}

// step does one thing to the service and to the model, and compares the outcomes.
func (h *history) step() string {
	switch dice := h.random.IntN(100); {
	case dice < 10 || len(h.sessions) == 0:
		return h.logIn()
	case dice < 60:
		return h.refreshOne()
	case dice < 85:
		return h.look()
	case dice < 92:
		return h.age(h.random)
	case dice < 94:
		return h.endOne()
	case dice < 95:
		return h.endOthers()
	case dice < 97:
		return h.toggle()
	case dice < 98:
		return h.operatorSetsPassword()
	default:
		return h.changePassword()
	}
}

func (h *history) any() *modelSession { return h.sessions[h.random.IntN(len(h.sessions))] }

func (h *history) compare(what string, err error, want bool) string {
	h.Helper()
	if refused := errors.Is(err, auth.ErrBadCredentials) || errors.Is(err, auth.ErrInvalidGrant) ||
		errors.Is(err, auth.ErrInvalidToken) ||
		errors.Is(err, auth.ErrSessionNotFound); err != nil && !refused {
		h.Errorf("%s: a fault: %v", what, err)
	}
	if (err == nil) != want {
		h.Errorf("%s: %v; the model says %v", what, err, want)
	}
	return what
}

func (h *history) logIn() string {
	given := h.password - h.random.IntN(2)*h.random.IntN(2) // now and then the one before
	grant, err := h.Logins.Login(h.Context(), "alice", passwordOf(given), client)
	if h.compare("log in", err, !h.disabled && given == h.password); err == nil {
		var live []*modelSession
		for _, s := range h.sessions {
			if !s.ended {
				live = append(live, s)
			}
		}
		slices.SortFunc(live, func(a, b *modelSession) int { return int(b.used - a.used) })
		access := h.granted(grant)
		if len(live) >= modelMost && live[modelMost-2].used == live[modelMost-1].used {
			// The model's clock cannot tell which of two was used longest ago.
			h.readEnded(live)
		} else if len(live) >= modelMost {
			for _, s := range live[modelMost-1:] {
				s.ended = true
			}
		}
		h.sessions = append(h.sessions, &modelSession{
			id: access.SessionID, rotated: h.now, used: h.now, idleExpires: h.now + modelIdle,
			expires: h.now + modelLife,
			refresh: []string{grant.RefreshToken}, access: []token.Access{access}, elsewhere: -1,
		})
	}
	return "log in"
}

// readEnded makes the model learn which sessions were evicted, and checks that their number is
// right.
func (h *history) readEnded(live []*modelSession) {
	left := 0
	for _, s := range live {
		if s.ended = h.endReason(s.id) != ""; !s.ended {
			left++
		}
	}
	if left != modelMost-1 {
		h.Errorf("%d sessions beside the new one", left)
	}
}

func (h *history) refreshOne() string {
	s := h.any()
	if h.undecided(s) {
		return "nothing"
	}
	n := max(0, s.counter-[]int{0, 0, 0, 1, 1, 2, 5}[h.random.IntN(7)])
	by := h.random.IntN(5) / 4 // mostly the first
	grant, err := h.Tokens.Refresh(h.Context(), s.refresh[n], modelClients()[by])
	switch over := h.over(s); {
	case n < s.known:
		h.compare("refresh with a token from before the password", err, false)
	case !over && n == s.counter:
		h.compare("refresh", err, true)
		s.counter, s.rotated, s.used, s.idleExpires = s.counter+1, h.now, h.now,
			min(h.now+modelIdle, s.expires)
		s.rotatedBy = by
		s.refresh = append(s.refresh, grant.RefreshToken)
		s.access = append(s.access, h.granted(grant))
	case !over && n == s.counter-1 && h.now-s.rotated <= modelGrace &&
		(by == s.rotatedBy || s.elsewhere < s.counter-1):
		if by != s.rotatedBy {
			s.elsewhere = s.counter
		}
		if h.compare("refresh again", err, true); grant.RefreshToken != s.refresh[s.counter] {
			h.Error("another successor")
		}
	default:
		h.compare("refresh with a token that is over", err, false)
		s.ended = s.ended || !over
	}
	return "refresh"
}

// granted returns the access token of a grant. A token version that comes again would make old
// tokens good again.
func (h *history) granted(g auth.Grant) token.Access {
	access := h.access(g)
	if known, ok := h.versions[access.Version]; ok && known != h.version {
		h.Errorf("the token version %d comes again", access.Version)
	}
	h.versions[access.Version] = h.version
	return access
}

func (h *history) look() string {
	s := h.any()
	access := s.access[h.random.IntN(len(s.access))]
	_, _, err := h.Access.Me(h.Context(), access)
	return h.compare(
		"look", err, !h.disabled && !s.ended && h.versions[access.Version] == h.version,
	)
}

func (h *history) age(random *rand.Rand) string {
	by := []time.Duration{17 * time.Minute, 3 * time.Hour, 13 * time.Hour}[random.IntN(3)]
	h.clocked.age(by)
	h.now += by
	return "age"
}

func (h *history) endOne() string {
	s := h.any()
	err := h.Sessions.End(h.Context(), allOf(h.user.ID), s.id)
	h.compare("end one", err, !s.ended)
	s.ended = true
	return "end one"
}

func (h *history) endOthers() string {
	s := h.any()
	h.compare("end others", h.Sessions.EndAll(h.Context(), allOf(h.user.ID), s.id), true)
	h.endAll(s)
	return "end others"
}

func (h *history) toggle() string {
	var err error
	if h.disabled {
		_, err = h.Accounts.Enable(h.Context(), authtest.Operator(), auth.ByName("alice"), nil)
	} else {
		_, err = h.Accounts.Disable(h.Context(), authtest.Operator(), auth.ByName("alice"), nil)
		h.version++
		h.endAll(nil)
	}
	h.disabled = !h.disabled
	return h.compare("disable or enable", err, true)
}

func (h *history) operatorSetsPassword() string {
	h.password++
	h.version++
	h.endAll(nil)
	_, _, err := h.Accounts.SetPassword(
		h.Context(), authtest.Operator(), auth.ByName("alice"),
		auth.NewPassword{Password: passwordOf(h.password)},
	)
	return h.compare("set password", err, true)
}

func (h *history) changePassword() string {
	s := h.any()
	if h.undecided(s) {
		return "nothing"
	}
	access := s.access[len(s.access)-1]
	ok := !h.over(s) && h.versions[access.Version] == h.version
	grant, err := h.Logins.ChangePassword(
		h.Context(), access, passwordOf(h.password), passwordOf(h.password+1),
	)
	if h.compare("change password", err, ok); err == nil {
		h.password++
		h.version++
		h.endAll(s)
		s.counter, s.rotated, s.used, s.idleExpires = s.counter+1, h.now, h.now,
			min(h.now+modelIdle, s.expires)
		s.known = s.counter
		s.refresh = append(s.refresh, grant.RefreshToken)
		s.access = append(s.access, h.granted(grant))
	}
	return "change password"
}
