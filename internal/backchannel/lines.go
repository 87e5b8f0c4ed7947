package backchannel

import (
	"math/rand/v2"
	"sync"
	"time"
)

// probes is how many deliveries at once an app gets that did not take the last one.
const probes = 2

// lines keep an app that does not answer from taking every worker, for seconds each time.
type lines struct {
	mutex sync.Mutex
	of    map[string]line // by client; what is not there is neither under way nor failing
}

type line struct {
	underWay int
	failing  bool
}

func newLines() *lines { return &lines{of: map[string]line{}} }

// enter tells whether a client gets a delivery now. After one that it gets, leave must follow.
func (l *lines) enter(client string) bool {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	its := l.of[client]
	if its.failing && its.underWay >= probes {
		return false
	}
	its.underWay++
	l.of[client] = its
	return true
}

func (l *lines) leave(client string) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	its := l.of[client]
	its.underWay--
	if its == (line{}) {
		delete(l.of, client)
		return
	}
	l.of[client] = its
}

// judge notes whether a client fails, between enter and leave, and tells whether that is new.
func (l *lines) judge(client string, failing bool) (changed bool) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	its := l.of[client]
	changed = its.failing != failing
	its.failing = failing
	l.of[client] = its
	return changed
}

const (
	shortestPause = 30 * time.Second
	longestPause  = time.Hour
)

// pause is how long a job of an age is put off. It grows, so that thousands that wait for one app
// do not keep the database busy, and is uneven, so that they do not come back together.
func pause(age time.Duration) time.Duration {
	half := min(max(age, shortestPause), longestPause) / 2
	return half + rand.N(half)
}
