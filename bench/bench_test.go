package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"gatehouse/internal/dbtest"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A statement that the service no longer uses would be compared with one that it does.
func TestTheBareStatementsAreThoseOfTheService(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../db/queries/sessions.sql")
	must(t, err)
	for name, want := range map[string]struct {
		sql    string
		params []string
	}{
		"SessionByID":   {sessionByID, []string{"@id", "$1"}},
		"RotateSession": {rotateSession, []string{"@idle_seconds", "$3", "@id", "$1", "@counter", "$2", "@event", "$4"}},
	} {
		_, rest, found := strings.Cut(string(text), "-- name: "+name+" ")
		_, query, _ := strings.Cut(rest, "\n")
		query, _, _ = strings.Cut(query, ";")
		if query = strings.NewReplacer(want.params...).Replace(query); !found || query != strings.TrimSpace(want.sql) {
			t.Errorf("%s is now\n%s", name, query)
		}
	}
}

// What growth asks for must be there, and the database be one that the service could have filled.
func TestFilledUsersAndSessionsKeepToTheSchema(t *testing.T) {
	t.Parallel()
	pool, err := pgxpool.New(t.Context(), dbtest.Owner(t, dbtest.New(t)))
	must(t, err)
	t.Cleanup(pool.Close)
	_, err = pool.Exec(t.Context(), `INSERT INTO users (id, username, username_key, password_hash)
		VALUES (gen_random_uuid(), 'first', 'first', '$2b$10$' || repeat('h', 53))`)
	must(t, err)
	const users = 101 // no multiple of the processors
	must(t, fill(t.Context(), pool, users))
	for _, n := range []int{1, 2, users / 2, users} {
		for which := range 2 {
			var name string
			err := pool.QueryRow(t.Context(), "SELECT u.username FROM sessions s JOIN users u ON u.id = s.user_id WHERE s.id = $1 AND u.id = $2",
				filledSession(n, which), filledUser(n)).Scan(&name)
			if err != nil || name != filledName(n) {
				t.Errorf("session %d of user %d is that of %q, want %q: %v", which, n, name, filledName(n), err)
			}
		}
	}
	var total, sessions int
	must(t, pool.QueryRow(t.Context(), "SELECT (SELECT count(*) FROM users), (SELECT count(*) FROM sessions)").Scan(&total, &sessions))
	if total != users+1 || sessions != 2*users {
		t.Errorf("%d users and %d sessions", total, sessions)
	}
	// A copy of the constraint would be looked at row by row, which the one put back was not.
	for _, again := range []string{"users", "sessions"} {
		_, err := pool.Exec(t.Context(), "CREATE TABLE copy_of_"+again+" (LIKE "+again+" INCLUDING CONSTRAINTS INCLUDING DEFAULTS INCLUDING GENERATED)")
		must(t, err)
	}
	_, err = pool.Exec(t.Context(), `INSERT INTO copy_of_users (id, username, username_key, password_hash)
		SELECT id, username, username_key, password_hash FROM users`)
	must(t, err)
	_, err = pool.Exec(t.Context(), "INSERT INTO copy_of_sessions SELECT * FROM sessions")
	must(t, err)
	if _, err := pool.Exec(t.Context(), "UPDATE users SET password_hash = 'plain'"); err == nil {
		t.Error("the schema has lost the check of a hash's form")
	}
}

// A loop that waited for an answer would not count the requests that came meanwhile.
func TestASlowAnswerKeepsNoOtherRequestOfAnOpenLoopBack(t *testing.T) {
	t.Parallel()
	const others = 50
	var came atomic.Int64
	all := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch came.Add(1) {
		case 1:
			<-all
		case others:
			close(all)
		}
	}))
	t.Cleanup(server.Close)
	shots, err := openLoop(t.Context(), 1000, time.Second, get(server.URL, []string{"a", "b"}))
	must(t, err)
	if len(shots) < others {
		t.Errorf("%d requests", len(shots))
	}
}

func TestRefusalsAreNoLatenciesOfSuccess(t *testing.T) {
	t.Parallel()
	if _, err := latencies([]shot{{status: 200}, {status: 503}}, nil); err == nil {
		t.Error("a 503 was taken for an answer")
	}
}

func TestFiguresOfWrkAreReadAndItsFaultsToo(t *testing.T) {
	t.Parallel()
	const out = "  Latency Distribution\n     50%    1.07ms\n     99%  950.00us\n  10 requests in 1.00s\nRequests/sec:   4711.50\n"
	got, err := readWrk(out)
	if want := (load{rps: 4711.5, p99: 950 * time.Microsecond, requests: 10}); err != nil || got != want {
		t.Errorf("%v, %v, want %v", got, err, want)
	}
	for _, fault := range []string{"  Non-2xx or 3xx responses: 3\n", "  Socket errors: connect 0, read 1, write 0, timeout 0\n"} {
		if _, err := readWrk(out + fault); err == nil {
			t.Errorf("%q was passed over", fault)
		}
	}
}

func TestAMedianBeyondItsGoalIsAMiss(t *testing.T) {
	t.Parallel()
	values := []float64{3, 1, 2}
	for _, test := range []struct {
		figure figure
		short  bool
		missed bool
	}{
		{figure{goal: 2}, false, false},
		{figure{goal: 2.1}, false, true},
		{figure{goal: 2.1}, true, false},
		{figure{goal: 2, most: true}, false, false},
		{figure{goal: 1.9, most: true}, false, true},
		{figure{}, false, false},
	} {
		m := test.figure.judge(values, test.short)
		if m.Median != 2 || m.Min != 1 || m.Max != 3 || m.Missed != test.missed {
			t.Errorf("%+v: %+v", test.figure, m)
		}
	}
	if m := (figure{goal: 1}).judge(nil, false); m.Missed || m.text(m.Median) != "-" {
		t.Errorf("what was not measured: %+v", m)
	}
}

func TestRowsAreChosenByNameAndPattern(t *testing.T) {
	t.Parallel()
	o := parse([]string{"-only", "me,verify*", "-only", "ban"})
	found, err := choose(rows(), o)
	must(t, err)
	var chosen []string
	for _, r := range found {
		chosen = append(chosen, r.name)
	}
	if want := []string{"verify", "verify-cold", "me", "ban"}; !slices.Equal(chosen, want) {
		t.Errorf("%q, want %q", chosen, want)
	}
	for _, unknown := range []string{"me,nonsense", "fastapi"} {
		if _, err := choose(rows(), parse([]string{"-only", unknown})); err == nil {
			t.Errorf("-only %s was taken", unknown)
		}
	}
}

// The Compose stack's file is the one that is measured: a change there must not leave this one with half of it.
func TestHAProxyIsConfiguredAsInTheComposeStack(t *testing.T) {
	t.Parallel()
	config, err := proxyConfig("../deploy/haproxy.cfg", "127.0.0.1:1", "127.0.0.1:2", []string{"server a 127.0.0.1:3 port 4", "server b 127.0.0.1:5 port 6"})
	must(t, err)
	for _, want := range []string{"bind 127.0.0.1:1\n", "bind 127.0.0.1:2\n", "    server a 127.0.0.1:3 port 4\n    server b 127.0.0.1:5 port 6\n", "balance leastconn"} {
		if !strings.Contains(string(config), want) {
			t.Errorf("no %q", want)
		}
	}
	if strings.Contains(strings.ReplaceAll(string(config), "that Docker", ""), "docker") {
		t.Error("it still asks Docker's resolver")
	}
}

func aReport() *report {
	points := [][2]float64{{1, 2}, {10, 0.5}, {1000, 30}}
	return &report{
		Rounds: 5, Measure: "3s", Machine: machine{Model: "a <processor>"},
		Rows: []outcome{{Row: "me", About: "one ÷ another", Detail: "the <last> round", Figures: []measured{
			figure{name: "÷ the query", goal: 0.7}.judge([]float64{0.5}, false), figure{unit: "MB"}.judge(nil, false),
		}}},
		Plots: []chart{
			{Name: "flood", Title: "a & b", Curves: []curve{{"/verify", points}}},
			{Name: "growth", LogX: true, LogY: true, Dots: true, Curves: []curve{{"login", points}}},
		},
	}
}

// A report is sent to others, and opened where there is no network.
func TestThePageNeedsNothingElse(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	must(t, aReport().write(dir))
	page, err := os.ReadFile(filepath.Join(dir, "report.html"))
	must(t, err)
	if strings.Count(string(page), "<svg") != 2 || !strings.Contains(string(page), "a &lt;processor&gt;") || !strings.Contains(string(page), "0.50 missed") {
		t.Errorf("the page:\n%s", page)
	}
	for _, link := range regexp.MustCompile(`(src|href)=|url\(|@import|<script|<\?xml`).FindAllString(string(page), -1) {
		t.Errorf("it has %s", link)
	}
	again, err := readReport(filepath.Join(dir, "report.json"))
	must(t, err)
	before, _ := json.Marshal(aReport())
	after, _ := json.Marshal(again)
	if string(before) != string(after) {
		t.Errorf("read back:\n%s\nwritten:\n%s", after, before)
	}
}

func TestTheDocumentGetsItsFiguresAndKeepsTheRest(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, docsFile)
	committed, err := os.ReadFile("../docs/performance.md")
	must(t, err)
	must(t, os.WriteFile(file, committed, 0o600))
	must(t, aReport().writeDocs(dir))
	written, err := os.ReadFile(file)
	must(t, err)
	if !strings.Contains(string(written), "| me: ÷ the query | ≥0.70 | 0.50 | 0.50 | 0.50 | missed |\n") {
		t.Errorf("no table:\n%s", written)
	}
	figures := regexp.MustCompile("(?s)" + regexp.QuoteMeta(docsBegin) + ".*" + docsEnd)
	if figures.ReplaceAllString(string(written), "") != figures.ReplaceAllString(string(committed), "") {
		t.Error("the rest has changed")
	}
	if plot, err := os.ReadFile(filepath.Join(dir, "performance.svg")); err != nil || !strings.HasPrefix(string(plot), "<svg") {
		t.Errorf("the plot: %.20s, %v", plot, err)
	}
}
