package ratelimit

import (
	"slices"
	"sync"
)

// Lines are where callers wait who may soon be let through: what they need is reserved by others,
// who may give it back. Each key has a line of its own. The first in a line asks again now and
// then. The others do not ask, so they cost nothing but memory. That is bounded, for one key and
// for all.
//
// Many goroutines may use them.
type Lines struct {
	mu       sync.Mutex
	most     int
	mostEach int
	waiting  int
	lines    map[Key][]*Place // the first in line comes first; none is empty
}

// NewLines makes lines in which so many may wait, and so many of them for one key.
func NewLines(most, mostEach int) *Lines {
	return &Lines{most: most, mostEach: mostEach, lines: make(map[Key][]*Place)}
}

// Place is a place in a line.
type Place struct {
	lines *Lines
	key   Key
	turn  chan struct{}
}

// Busy tells whether somebody waits for a key.
func (l *Lines) Busy(key Key) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.lines[key]) > 0
}

// Join takes the last place in the line of a key, if there is one left. Whoever joins must leave.
func (l *Lines) Join(key Key) (*Place, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.waiting >= l.most || len(l.lines[key]) >= l.mostEach {
		return nil, false
	}
	p := &Place{lines: l, key: key, turn: make(chan struct{}, 1)}
	l.lines[key] = append(l.lines[key], p)
	l.waiting++
	return p, true
}

// Settled wakes the first in the lines of these keys: something about them is decided.
func (l *Lines) Settled(keys ...Key) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, key := range keys {
		l.call(key)
	}
}

// call wakes the first in line.
func (l *Lines) call(key Key) {
	line := l.lines[key]
	if len(line) == 0 {
		return
	}
	select {
	case line[0].turn <- struct{}{}:
	default: // has it already
	}
}

// Key is that of the line.
func (p *Place) Key() Key { return p.key }

// First tells whether this is the first place.
func (p *Place) First() bool {
	p.lines.mu.Lock()
	defer p.lines.mu.Unlock()
	return p.lines.lines[p.key][0] == p
}

// Turn receives when it is time to ask: something was settled, or those before have left.
func (p *Place) Turn() <-chan struct{} { return p.turn }

// Leave gives up the place.
func (p *Place) Leave() {
	l := p.lines
	l.mu.Lock()
	defer l.mu.Unlock()
	n := slices.Index(l.lines[p.key], p)
	l.lines[p.key] = slices.Delete(l.lines[p.key], n, n+1)
	l.waiting--
	if len(l.lines[p.key]) == 0 {
		delete(l.lines, p.key)
	} else if n == 0 {
		l.call(p.key)
	}
}
