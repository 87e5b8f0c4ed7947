package rows

import (
	"slices"
	"strings"
	"testing"
)

func TestRowsAreChosenByNameAndPattern(t *testing.T) {
	t.Parallel()
	var o Options
	must(t, o.Only.Set("me,verify*"))
	must(t, o.Only.Set("ban"))
	found, err := Choose(o)
	must(t, err)
	var chosen []string
	for _, r := range found {
		chosen = append(chosen, r.name)
	}
	if want := []string{"verify", "verify-cold", "me", "ban"}; !slices.Equal(chosen, want) {
		t.Errorf("%q, want %q", chosen, want)
	}
	for _, unknown := range []string{"me,nonsense", "fastapi"} {
		var o Options
		must(t, o.Only.Set(unknown))
		if _, err := Choose(o); err == nil {
			t.Errorf("-only %s was taken", unknown)
		}
	}
}

// The Compose stack's file is the one that is measured: a change there must not leave this one with
// half of it.
func TestHAProxyIsConfiguredAsInTheComposeStack(t *testing.T) {
	t.Parallel()
	config, err := proxyConfig("../../../deploy/haproxy.cfg", "127.0.0.1:1", "127.0.0.1:2", []string{"server a 127.0.0.1:3 port 4", "server b 127.0.0.1:5 port 6"})
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

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
