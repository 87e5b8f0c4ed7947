package auth_test

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"gatehouse/internal/auth"
	"gatehouse/internal/dbtest"
)

// direction is a way through a cutter.
type direction int

const (
	toDatabase direction = iota
	fromDatabase
)

// cutter stands before a database, and ends each connection after so many bytes one way.
type cutter struct {
	url      string
	listener net.Listener
	group    sync.WaitGroup
	limits   [2]int64
	mu       sync.Mutex
	passed   [2]int64 // of the longest connection: a pool may open one more that has nothing to do
}

func startCutter(t testing.TB, databaseURL string, way direction, limit int64) *cutter {
	t.Helper()
	u, err := url.Parse(databaseURL)
	must(t, err)
	c := &cutter{limits: [2]int64{1 << 40, 1 << 40}}
	c.limits[way] = limit
	c.listener, err = net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	behind := u.Host
	u.Host = c.listener.Addr().String()
	c.url = u.String()
	c.group.Go(func() {
		for {
			client, err := c.listener.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", behind)
			if err != nil {
				client.Close()
				continue
			}
			c.group.Go(func() { c.pass(toDatabase, server, client) })
			c.group.Go(func() { c.pass(fromDatabase, client, server) })
		}
	})
	return c
}

func (c *cutter) pass(way direction, to, from net.Conn) {
	defer to.Close()
	defer from.Close()
	passed, _ := io.CopyN(to, from, c.limits[way])
	c.mu.Lock()
	defer c.mu.Unlock()
	c.passed[way] = max(c.passed[way], passed)
}

// stop returns when there is no connection any more; its clients must have closed theirs.
func (c *cutter) stop() {
	c.listener.Close()
	c.group.Wait()
}

// presented is a session whose refresh token number 0 is used, by its owner or by a thief.
type presented struct {
	*clocked
	databaseURL   string
	stolen        bool
	id            uuid.UUID
	raw, expected string // token, and its successor
}

// stored is what the database has of a session.
type stored struct {
	counter     int64
	reason      string // of its end
	revocations int
}

func (p *presented) before() stored {
	if p.stolen {
		return stored{counter: 2}
	}
	return stored{}
}

func (p *presented) after() stored {
	if p.stolen {
		return stored{counter: 2, reason: "reuse", revocations: 1}
	}
	return stored{counter: 1}
}

// renew makes another session.
func (p *presented) renew(user auth.User) {
	p.Helper()
	p.id = uuid.Must(uuid.NewV7())
	salt := make([]byte, 16)
	must(p, p.store.StartSession(p.Context(), auth.NewSession{ID: p.id, User: user, Salt: salt, Limits: auth.SessionLimits{
		Idle: p.limits.Idle, Absolute: p.limits.Absolute, PerUser: 10_000,
	}}))
	p.raw, p.expected = p.keys.Make(p.id, 0, salt), p.keys.Make(p.id, 1, salt)
	_, err := p.conn.Exec(p.Context(), "UPDATE sessions SET counter = $2 WHERE id = $1", p.id, p.before().counter)
	must(p, err)
}

// read is one statement, so that it sees one state.
func (p *presented) read() (s stored) {
	p.Helper()
	must(p, p.conn.QueryRow(p.Context(), `
		SELECT counter, coalesce(end_reason, ''), (SELECT count(*) FROM revocations WHERE session_id = s.id)
		FROM sessions s
		WHERE id = $1 AND (ended_at IS NULL) = (end_reason IS NULL)`, p.id).Scan(&s.counter, &s.reason, &s.revocations))
	return s
}

// use presents the token through a cutter; known is whether the answer arrived.
func (p *presented) use(way direction, limit int64) (cut *cutter, known bool) {
	p.Helper()
	cut = startCutter(p, p.databaseURL, way, limit)
	defer cut.stop()
	store, err := openStore(cut.url)
	must(p, err)
	grant, err := auth.NewService(auth.Parts{
		Store: store, Hasher: p.hasher, Tokens: issuer(p.T), Refresh: p.keys, Limits: p.limits, Clock: time.Now,
	}).Refresh(context.Background(), p.raw)
	store.Close()
	return cut, p.answered(grant, err)
}

// answered holds an answer, if it is one, to the token's.
func (p *presented) answered(grant auth.Grant, err error) bool {
	p.Helper()
	switch {
	case errors.Is(err, auth.ErrUnavailable):
		return false
	case p.stolen && errors.Is(err, auth.ErrInvalidGrant):
		return true
	case !p.stolen && err == nil && grant.RefreshToken == p.expected:
		return true
	}
	p.Fatalf("stolen %t: an answer that is neither: %v", p.stolen, err)
	return false
}

// Wherever a connection breaks, a refresh or the end of a stolen session is done whole or not at all; nobody is told that
// it was done unless it was; and whoever tries again gets the answer that was lost.
func TestARefreshThatIsCutOffAtAnyByteIsDoneWholeOrNotAtAll(t *testing.T) {
	t.Parallel()
	for name, stolen := range map[string]bool{"refresh": false, "reuse": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			databaseURL := dbtest.New(t)
			p := &presented{clocked: clockedOn(t, databaseURL), databaseURL: databaseURL, stolen: stolen}
			user := p.register("alice")
			p.renew(user)
			whole, known := p.use(toDatabase, 1<<40)
			if got := p.read(); !known || got != p.after() {
				t.Fatalf("without a cut: %+v, answered %t", got, known)
			}
			lost := map[bool]int{} // answers, by whether what they told of was done
			for _, way := range []direction{toDatabase, fromDatabase} {
				length := whole.passed[way]
				for _, limit := range cuts(length) {
					p.renew(user)
					_, known := p.use(way, limit)
					got := p.read()
					if got != p.after() && (known || got != p.before()) {
						t.Errorf("way %d, %d of %d bytes: %+v, answered %t", way, limit, length, got, known)
					}
					if !known {
						lost[got == p.after()]++
					}
					again, err := p.Refresh(t.Context(), p.raw)
					if !p.answered(again, err) || p.read() != p.after() {
						t.Errorf("way %d, %d of %d bytes: tried again: %v, %+v", way, limit, length, err, p.read())
					}
				}
			}
			if lost[true] == 0 || lost[false] == 0 {
				t.Errorf("the cuts have not lost both answers and requests: %v", lost)
			}
		})
	}
}

// cuts are places in a conversation: some anywhere, and more near its end, where the answer to the last statement is.
func cuts(length int64) (limits []int64) {
	for range 8 {
		limits = append(limits, 1+rand.Int64N(length-1))
	}
	for back := int64(1); back < 80; back += 8 {
		limits = append(limits, length-back)
	}
	return limits
}
