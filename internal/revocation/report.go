package revocation

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

// maxCursors is how many replicas behind a load balancer a follower tells apart.
const maxCursors = 8

// Report is what a set tells to one that follows it: all that it holds, or what is new since
// another report. Its JSON is that of the HTTP contract.
type Report struct {
	KeepSeconds     int64  `json:"keep_seconds"`
	LifetimeSeconds int64  `json:"lifetime_seconds"`
	IssuedBefore    int64  `json:"issued_before,omitzero"` // bars every token that was issued before, in seconds since 1970
	Revocations     []Item `json:"revocations"`
}

// Item is an entry of a report. It has a user and a version, or else a session.
type Item struct {
	UserID    uuid.UUID `json:"user_id,omitzero"`
	SessionID uuid.UUID `json:"session_id,omitzero"`
	Version   int64     `json:"version,omitzero"`
}

// Cursor names what the set holds now. It changes with each new entry, and no two sets have the
// same one.
func (r *Set) Cursor() string { return r.cursor(r.last.Load()) }

func (r *Set) cursor(number uint64) string { return r.name + strconv.FormatUint(number, 10) }

// Since reports what is new since one of the cursors, or all if none of them is of this set. All
// that is older than the cursor that it returns is in the report. What is added meanwhile may be in
// it.
func (r *Set) Since(cursors ...string) (Report, string) {
	last := r.last.Load() // before the entries are looked at: else one that comes in meanwhile would count as told
	var known uint64
	for _, cursor := range cursors {
		known = max(known, r.position(cursor, last))
	}
	report := Report{KeepSeconds: seconds(r.keep), LifetimeSeconds: seconds(r.lifetime), IssuedBefore: r.issuedBefore.Load(), Revocations: []Item{}}
	for n := range r.shards {
		report.Revocations = r.shards[n].since(known, report.Revocations)
	}
	return report, r.cursor(last)
}

// position is the number in a cursor of this set. It is 0 for any other text.
func (r *Set) position(cursor string, last uint64) uint64 {
	text, ours := strings.CutPrefix(cursor, r.name)
	number, err := strconv.ParseUint(text, 10, 64)
	if !ours || err != nil || number > last {
		return 0
	}
	return number
}

func (s *shard) since(known uint64, items []Item) []Item {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for subject, e := range s.entries {
		switch {
		case e.number <= known:
		case e.version == NoVersion:
			items = append(items, Item{SessionID: subject})
		default:
			items = append(items, Item{UserID: subject, Version: e.version})
		}
	}
	return items
}

func seconds(d time.Duration) int64 { return int64(math.Ceil(d.Seconds())) }

// errReport is for a report that no set makes.
var errReport = errors.New("revocation: malformed report")

// NewCopy makes an empty set that remembers for as long as the one that made a report.
func NewCopy(now time.Time, report Report) (*Set, error) {
	if report.LifetimeSeconds < 1 || report.KeepSeconds < report.LifetimeSeconds || report.KeepSeconds > math.MaxInt32 {
		return nil, errReport
	}
	return newSet(now, time.Duration(report.LifetimeSeconds)*time.Second, time.Duration(report.KeepSeconds)*time.Second), nil
}

// Covers tells whether the set remembers for as long as the one that made a report. If it does not,
// it would forget revocations of tokens that still live.
func (r *Set) Covers(report Report) bool { return seconds(r.lifetime) >= report.LifetimeSeconds }

// Merge adds what is in a report. The entries are kept as if they had been made now.
func (r *Set) Merge(now time.Time, report Report) error {
	if report.IssuedBefore < 0 {
		return errReport
	}
	entries := make([]Entry, len(report.Revocations), len(report.Revocations)+1)
	for n, item := range report.Revocations {
		ofUser, ofSession := item.UserID != uuid.Nil, item.SessionID != uuid.Nil
		switch {
		case ofUser && !ofSession && item.Version > 0:
			entries[n] = Entry{Subject: item.UserID, Version: item.Version}
		case ofSession && !ofUser && item.Version == 0:
			entries[n] = Entry{Subject: item.SessionID, Version: NoVersion}
		default:
			return errReport
		}
	}
	r.Add(now, append(entries, Entry{Version: report.IssuedBefore}))
	return nil
}

// Feed is the report in the form that is signed.
func (r Report) Feed(issuedAt time.Time) Feed {
	f := Feed{
		IssuedAt: issuedAt, Keep: time.Duration(r.KeepSeconds) * time.Second, Lifetime: time.Duration(r.LifetimeSeconds) * time.Second,
		IssuedBefore: r.IssuedBefore, Users: map[FeedID]int64{}, Sessions: []FeedID{},
	}
	for _, item := range r.Revocations {
		if item.SessionID != uuid.Nil {
			f.Sessions = append(f.Sessions, FeedID(item.SessionID))
		} else {
			f.Users[FeedID(item.UserID)] = item.Version
		}
	}
	return f
}

// OfFeed is the report of a feed.
func OfFeed(f Feed) Report {
	r := Report{
		KeepSeconds: seconds(f.Keep), LifetimeSeconds: seconds(f.Lifetime), IssuedBefore: f.IssuedBefore,
		Revocations: make([]Item, 0, len(f.Users)+len(f.Sessions)),
	}
	for id, version := range f.Users {
		r.Revocations = append(r.Revocations, Item{UserID: uuid.UUID(id), Version: version})
	}
	for _, id := range f.Sessions {
		r.Revocations = append(r.Revocations, Item{SessionID: uuid.UUID(id)})
	}
	return r
}

// Cursors are the latest of each set that is followed. The set that answered last comes first.
type Cursors []string

// With returns the cursors after an answer. Each set has one cursor in them. The sets that have not
// answered for the longest time are dropped.
func (c Cursors) With(cursor string) Cursors {
	next := Cursors{cursor}
	for _, other := range c {
		if len(next) < maxCursors && setOf(other) != setOf(cursor) {
			next = append(next, other)
		}
	}
	return next
}

func setOf(cursor string) string {
	name, _, _ := strings.Cut(cursor, ".")
	return name
}
