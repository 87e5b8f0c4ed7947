package revocation

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"gatehouse.example/internal/token"
)

func wantSince(t *testing.T, set *Set, want int, cursors ...string) (cursor string) {
	t.Helper()
	report, cursor := set.Since(cursors...)
	if got := len(report.Revocations); got != want {
		t.Errorf("since %q there are %d, want %d", cursors, got, want)
	}
	return cursor
}

func TestAReportHasWhatCameAfterTheCursor(t *testing.T) {
	t.Parallel()
	now := time.Now()
	set, other := NewSet(now, testLifetime), NewSet(now, testLifetime)
	first := wantSince(t, set, 0)
	if wantSince(t, set, 0, first) != first || set.Cursor() != first {
		t.Error("the cursor has changed for no reason")
	}
	user := newID()
	set.Add(now, append(many(2), Entry{Subject: user, Version: 5}))
	second := wantSince(t, set, 3, first)
	wantSince(t, set, 0, second)
	wantSince(t, set, 0, first, second, other.Cursor())
	set.Add(now, []Entry{{Subject: user, Version: 4}, {Subject: user, Version: 5}})
	if set.Cursor() != second {
		t.Error("the cursor has changed with what is known already")
	}
	set.Add(now, []Entry{{Subject: user, Version: 6}})
	third := wantSince(t, set, 1, second)
	wantSince(t, set, 3, first)
	wantSince(t, set, 0, third)
}

// It is told each time, so that no follower misses it, and a cursor of before is none of now.
func TestAReportHasTheTimeBeforeWhichAllIsRevoked(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	set := NewSet(now, testLifetime)
	first := wantSince(t, set, 0)
	set.Add(now, []Entry{{Version: now.Unix()}})
	second := wantSince(t, set, 0, first)
	if first == second {
		t.Error("the cursor is the same")
	}
	set.Add(now, []Entry{{Version: now.Unix()}})
	if set.Cursor() != second {
		t.Error("the cursor has changed with what is known already")
	}
	report, _ := set.Since(second)
	for _, told := range []Report{report, OfFeed(report.Feed(now))} {
		follower, err := NewCopy(now, told)
		if err == nil {
			err = follower.Merge(now, told)
		}
		if err != nil {
			t.Fatal(err)
		}
		follower.Confirm(now)
		wantCheck(t, follower, now, access(now.Add(-time.Second)), true, false)
		wantCheck(t, follower, now, access(now), false, false)
	}
}

// A replica that has restarted, or another one, has never told what the cursor stands for.
func TestACursorOfAnotherSetCountsForNothing(t *testing.T) {
	t.Parallel()
	now := time.Now()
	set, other := NewSet(now, testLifetime), NewSet(now, testLifetime)
	set.Add(now, many(3))
	other.Add(now, many(3))
	own := set.Cursor()
	name, _, _ := strings.Cut(own, ".")
	for _, cursor := range []string{
		other.Cursor(), "", ".", "3", name, name + ".", name + ".4", name + ".-1", name + ".+3", name + ".0x3", name + ".3 ", name + ".３",
		name + ".99999999999999999999", strings.ToLower(own), " " + own, own + "\x00", own + "." + own, name + ".18446744073709551615",
	} {
		wantSince(t, set, 3, cursor)
	}
}

func FuzzNoTextPassesForACursorThatWasNotGiven(f *testing.F) {
	set := NewSet(time.Now(), testLifetime)
	set.Add(time.Now(), many(3))
	name, _, _ := strings.Cut(set.Cursor(), ".")
	for _, seed := range []string{"3", "", "4", "03", "-1", "18446744073709551616"} {
		f.Add(name + "." + seed)
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if n := set.position(text, 3); n != 0 && strings.TrimLeft(strings.TrimPrefix(text, name+"."), "0") != fmt.Sprint(n) || n > 3 {
			t.Errorf("%q is taken for %d", text, n)
		}
	})
}

func TestACopyKnowsWhatItsSourceKnows(t *testing.T) {
	t.Parallel()
	now := time.Now()
	source := NewSet(now, testLifetime)
	a, b := access(now), access(now)
	source.Add(now, []Entry{{Subject: a.UserID, Version: a.Version + 1}, {Subject: b.SessionID, Version: NoVersion}})
	told, _ := source.Since()
	encoded, err := json.Marshal(told)
	if err != nil {
		t.Fatal(err)
	}
	var report Report
	if err := json.Unmarshal(encoded, &report); err != nil {
		t.Fatal(err)
	}
	set, err := NewCopy(now, report)
	if err != nil {
		t.Fatal(err)
	}
	wantCheck(t, set, now, a, false, true)
	if err := set.Merge(now, report); err != nil {
		t.Fatal(err)
	}
	wantCheck(t, set, now, a, true, false)
	wantCheck(t, set, now, b, true, false)
	a.Version++
	set.Confirm(now)
	wantCheck(t, set, now, a, false, false)
	wantCheck(t, set, now, access(now.Add(-testLifetime-token.Leeway-1)), false, true)
	if set.Keep() != source.Keep() || !set.Covers(report) {
		t.Errorf("the copy keeps for %v, its source for %v", set.Keep(), source.Keep())
	}
	report.LifetimeSeconds++
	if set.Covers(report) {
		t.Error("tokens that live longer are said to be covered")
	}
}

// Half a report that is taken for a whole one hides a ban.
func TestAMalformedReportIsRefused(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for name, report := range map[string]string{
		"no times":                `{}`,
		"kept for too short":      `{"keep_seconds": 9, "lifetime_seconds": 10}`,
		"overflow":                `{"keep_seconds": 9223372036854775807, "lifetime_seconds": 10}`,
		"negative":                `{"keep_seconds": -1, "lifetime_seconds": -2}`,
		"a time before 1970":      `{"keep_seconds": 9, "lifetime_seconds": 9, "issued_before": -1}`,
		"nobody":                  `{"keep_seconds": 9, "lifetime_seconds": 9, "revocations": [{}]}`,
		"no version":              `{"keep_seconds": 9, "lifetime_seconds": 9, "revocations": [{"user_id": "` + uuid.NewString() + `"}]}`,
		"no version at all":       `{"keep_seconds": 9, "lifetime_seconds": 9, "revocations": [{"user_id": "` + uuid.NewString() + `", "version": -1}]}`,
		"a session and a version": `{"keep_seconds": 9, "lifetime_seconds": 9, "revocations": [{"session_id": "` + uuid.NewString() + `", "version": 1}]}`,
		"both":                    `{"keep_seconds": 9, "lifetime_seconds": 9, "revocations": [{"user_id": "` + uuid.NewString() + `", "session_id": "` + uuid.NewString() + `", "version": 1}]}`,
	} {
		var r Report
		if err := json.Unmarshal([]byte(report), &r); err != nil {
			t.Fatal(err)
		}
		set, err := NewCopy(now, r)
		if err == nil {
			err = set.Merge(now, r)
		}
		if err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// The property that following rests on: whoever adds up reports, each since the last one's cursor,
// misses nothing that came in before the last one was made, however many add at the same time.
func TestNothingIsMissedBetweenTwoReports(t *testing.T) {
	t.Parallel()
	const writers, each = 4, 3000
	now := time.Now()
	set := NewSet(now, testLifetime)
	var group sync.WaitGroup
	var added atomic.Int64
	entries := make([][]Entry, writers)
	for w := range writers {
		entries[w] = many(each)
		group.Go(func() {
			for n := range entries[w] {
				set.Add(now, entries[w][n:n+1])
				added.Add(1)
			}
		})
	}
	seen := map[uuid.UUID]bool{}
	for cursor, done := "", false; !done; {
		done = added.Load() == writers*each
		if set.Cursor() == cursor { // as a 304 is decided
			continue
		}
		var report Report
		report, cursor = set.Since(cursor)
		for _, item := range report.Revocations {
			seen[item.SessionID] = true
		}
	}
	group.Wait()
	for w := range entries {
		for _, e := range entries[w] {
			if !seen[e.Subject] {
				t.Fatalf("%d of %d were told", len(seen), writers*each)
			}
		}
	}
}

func TestCursorsHaveOneOfEachSetAndABound(t *testing.T) {
	t.Parallel()
	var c Cursors
	for n := range 3 * maxCursors {
		c = c.With(fmt.Sprintf("A.%d", n)).With(fmt.Sprintf("B%d.1", n))
		c = c.With(fmt.Sprintf("B%d.2", n))
		if want := min(n+2, maxCursors); len(c) != want || c[0] != fmt.Sprintf("B%d.2", n) || c[1] != fmt.Sprintf("A.%d", n) {
			t.Fatalf("after %d: %v", n, c)
		}
	}
}

// BenchmarkCursor is what it costs to say that nothing is new.
func BenchmarkCursor(b *testing.B) {
	set := NewSet(time.Now(), testLifetime)
	set.Add(time.Now(), many(100_000))
	b.ReportAllocs()
	for b.Loop() {
		set.Cursor()
	}
}

// BenchmarkSince is what it costs to find one new entry among 100,000.
func BenchmarkSince(b *testing.B) {
	set := NewSet(time.Now(), testLifetime)
	set.Add(time.Now(), many(99_999))
	cursor := set.Cursor()
	set.Add(time.Now(), many(1))
	b.ReportAllocs()
	for b.Loop() {
		if report, _ := set.Since(cursor); len(report.Revocations) != 1 {
			b.Fail()
		}
	}
}

// A user's version or a session that is lost on the way is a ban that nobody hears of.
func TestAReportComesThroughAFeed(t *testing.T) {
	t.Parallel()
	now := time.Now()
	set := NewSet(now, 30*time.Minute)
	for n := range 100 {
		set.Add(now, []Entry{{Subject: uuid.New(), Version: int64(n + 1)}, {Subject: uuid.New(), Version: NoVersion}})
	}
	report, _ := set.Since()
	back := OfFeed(report.Feed(now))
	if back.KeepSeconds != report.KeepSeconds || back.LifetimeSeconds != report.LifetimeSeconds || len(back.Revocations) != len(report.Revocations) {
		t.Errorf("%d of %d, %+v", len(back.Revocations), len(report.Revocations), back)
	}
	for _, item := range report.Revocations {
		if !slices.Contains(back.Revocations, item) {
			t.Errorf("%+v is lost", item)
		}
	}
}
