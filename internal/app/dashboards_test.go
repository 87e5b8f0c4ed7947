package app_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"gatehouse.example/internal/asynctest"
	"gatehouse.example/internal/dbtest"
)

// A panel whose query finds nothing looks like a quiet day.
func TestEveryPanelOfTheDashboardsShowsSomethingOfALiveReplica(t *testing.T) {
	t.Parallel()
	program, err := exec.LookPath("prometheus")
	if err != nil && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	must(t, err)
	flags, renewed := withTLS(t)
	client := renewed()
	r := boot(t, dbtest.New(t), append(flags, "--account-failures=0", "--account-failures-per-day=0",
		"--address-failures=0")...)
	r.client, r.public = client, strings.Replace(r.public, "http:", "https:", 1)
	at := startPrometheus(t, program, strings.TrimPrefix(r.ops, "http://"))
	boards, err := filepath.Glob("../../deploy/observability/dashboard-*.json")
	if err != nil || len(boards) != 2 {
		t.Fatal(boards, err)
	}
	use := func() {
		r.want(http.StatusBadRequest, r.do(r.refreshRequest("ghr_x")))
		r.want(http.StatusUnauthorized, r.do(r.loginRequest("nobody", goodPassword)))
		r.do(r.request("POST", "/password/forgot", `{"login": "nobody"}`, "Content-Type",
			"application/json"))
	}
	r.loggedIn("alice", goodPassword)
	for _, file := range boards {
		var board struct {
			Panels []struct {
				Title   string
				Targets []struct{ Expr string }
			}
		}
		text, err := os.ReadFile(file)
		must(t, err)
		must(t, json.Unmarshal(text, &board))
		for _, panel := range board.Panels {
			for _, target := range panel.Targets {
				expr := strings.ReplaceAll(target.Expr, "$__rate_interval", "1m")
				asynctest.Await(t, fmt.Sprintf("an answer of %q: %s", panel.Title, expr), func() bool {
					use()
					return seriesOf(t, at, expr) > 0
				})
			}
		}
	}
}

// startPrometheus starts one that asks an ops port each second, and returns its URL.
func startPrometheus(t *testing.T, program, ops string) string {
	t.Helper()
	dir, addr := t.TempDir(), dbtest.FreeAddr(t)
	settings := filepath.Join(dir, "prometheus.yml")
	must(t, os.WriteFile(settings, fmt.Appendf(nil, `global: {scrape_interval: 1s}
scrape_configs:
  - job_name: gatehouse
    static_configs: [{targets: [%q]}]
`, ops), 0o600))
	command := exec.Command(program, "--config.file="+settings, "--storage.tsdb.path="+dir,
		"--web.listen-address="+addr, "--log.level=error")
	must(t, command.Start())
	t.Cleanup(func() { _ = command.Process.Kill(); _ = command.Wait() })
	asynctest.Await(t, "prometheus", func() bool {
		response, err := http.Get("http://" + addr + "/-/ready")
		if err != nil {
			return false
		}
		response.Body.Close()
		return response.StatusCode == http.StatusOK
	})
	return "http://" + addr
}

// seriesOf is how many series a query finds.
func seriesOf(t *testing.T, at, expr string) int {
	t.Helper()
	response, err := http.Get(at + "/api/v1/query?query=" + url.QueryEscape(expr))
	must(t, err)
	defer response.Body.Close()
	var answer struct {
		Error string
		Data  struct{ Result []any }
	}
	must(t, json.NewDecoder(response.Body).Decode(&answer))
	if answer.Error != "" {
		t.Fatalf("%s: %s", expr, answer.Error)
	}
	return len(answer.Data.Result)
}
