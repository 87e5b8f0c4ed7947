package auth_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"gatehouse/internal/auth"
	"gatehouse/internal/token"
)

// model is what should be: one user's sessions, kept as plainly as can be. Its clock moves only when it is told to.
type model struct {
	now      time.Duration
	disabled bool
	version  int64
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
	access               []token.Access
}

const (
	modelGrace = 10 * time.Minute
	modelIdle  = 24 * time.Hour
	modelLife  = 48 * time.Hour
	modelMost  = 4
	// margin is around every boundary: what is nearer to it than the test takes is not asked for.
	modelMargin = 5 * time.Minute
)

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

// TestRandomHistoriesEndAsTheModelSays drives the service and the model through the same random history.
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
	c.Service = auth.NewService(auth.Parts{
		Store: c.store, Hasher: c.hasher, Tokens: issuer(t), Refresh: c.keys,
		Limits: auth.SessionLimits{Idle: modelIdle, Absolute: modelLife, Grace: modelGrace, PerUser: modelMost},
		Clock:  func() time.Time { return start }, // access tokens do not expire here
	})
	h := &history{clocked: c, model: model{version: 1}, random: rand.New(rand.NewPCG(seed, 0))}
	var err error
	h.user, err = c.Register(t.Context(), "alice", passwordOf(0))
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

// step does one thing, to the service and to the model, and compares the outcome.
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
	if refused := errors.Is(err, auth.ErrBadCredentials) || errors.Is(err, auth.ErrInvalidGrant) || errors.Is(err, auth.ErrInvalidToken) ||
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
	grant, err := h.Login(h.Context(), "alice", passwordOf(given), client)
	if h.compare("log in", err, !h.disabled && given == h.password); err == nil {
		var live []*modelSession
		for _, s := range h.sessions {
			if !s.ended {
				live = append(live, s)
			}
		}
		slices.SortFunc(live, func(a, b *modelSession) int { return int(b.used - a.used) })
		access := h.access(grant)
		if len(live) >= modelMost && live[modelMost-2].used == live[modelMost-1].used {
			// Which of two was used longest ago, the model's clock cannot tell.
			h.readEnded(live)
		} else if len(live) >= modelMost {
			for _, s := range live[modelMost-1:] {
				s.ended = true
			}
		}
		h.sessions = append(h.sessions, &modelSession{
			id: access.SessionID, rotated: h.now, used: h.now, idleExpires: h.now + modelIdle, expires: h.now + modelLife,
			refresh: []string{grant.RefreshToken}, access: []token.Access{access},
		})
	}
	return "log in"
}

// readEnded lets the model know which sessions were evicted, and makes sure that it was the right number.
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
	grant, err := h.Refresh(h.Context(), s.refresh[n], client)
	switch over := h.over(s); {
	case !over && n == s.counter:
		h.compare("refresh", err, true)
		s.counter, s.rotated, s.used, s.idleExpires = s.counter+1, h.now, h.now, min(h.now+modelIdle, s.expires)
		s.refresh = append(s.refresh, grant.RefreshToken)
		s.access = append(s.access, h.access(grant))
	case !over && n == s.counter-1 && h.now-s.rotated <= modelGrace:
		if h.compare("refresh again", err, true); grant.RefreshToken != s.refresh[s.counter] {
			h.Error("another successor")
		}
	default:
		h.compare("refresh with a token that is over", err, false)
		s.ended = s.ended || !over
	}
	return "refresh"
}

func (h *history) look() string {
	s := h.any()
	access := s.access[h.random.IntN(len(s.access))]
	_, err := h.Me(h.Context(), access)
	return h.compare("look", err, !h.disabled && !s.ended && access.Version == h.version)
}

func (h *history) age(random *rand.Rand) string {
	by := []time.Duration{17 * time.Minute, 3 * time.Hour, 13 * time.Hour}[random.IntN(3)]
	h.clocked.age(by)
	h.now += by
	return "age"
}

func (h *history) endOne() string {
	s := h.any()
	err := h.EndSession(h.Context(), h.user.ID, s.id)
	h.compare("end one", err, !s.ended)
	s.ended = true
	return "end one"
}

func (h *history) endOthers() string {
	s := h.any()
	h.compare("end others", h.EndSessions(h.Context(), h.user.ID, s.id), true)
	h.endAll(s)
	return "end others"
}

func (h *history) toggle() string {
	var err error
	if h.disabled {
		_, err = h.Enable(h.Context(), "alice")
	} else {
		_, err = h.Disable(h.Context(), "alice")
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
	_, err := h.SetPassword(h.Context(), "alice", passwordOf(h.password))
	return h.compare("set password", err, true)
}

func (h *history) changePassword() string {
	s := h.any()
	if h.undecided(s) {
		return "nothing"
	}
	access := s.access[len(s.access)-1]
	ok := !h.over(s) && access.Version == h.version
	grant, err := h.ChangePassword(h.Context(), access, passwordOf(h.password), passwordOf(h.password+1))
	if h.compare("change password", err, ok); err == nil {
		h.password++
		h.version++
		h.endAll(s)
		s.counter, s.rotated, s.used, s.idleExpires = s.counter+1, h.now, h.now, min(h.now+modelIdle, s.expires)
		s.refresh = append(s.refresh, grant.RefreshToken)
		s.access = append(s.access, h.access(grant))
	}
	return "change password"
}
