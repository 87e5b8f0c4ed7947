package app_test

import (
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"gatehouse.example/internal/dbtest"
)

// A rule about a metric that is called otherwise is silent for ever.
func TestEveryMetricOfTheAlertsIsThere(t *testing.T) {
	t.Parallel()
	rules, err := os.ReadFile("../../deploy/observability/alerts.yml")
	must(t, err)
	flags, renewed := withTLS(t)
	client := renewed()
	r := boot(t, dbtest.New(t), flags...)
	r.client, r.public = client, strings.Replace(r.public, "http:", "https:", 1)
	r.loggedIn("alice", goodPassword)
	r.want(http.StatusBadRequest, r.do(r.refreshRequest("ghr_x")))
	page := r.onOps("/metrics").body
	names := regexp.MustCompile(`\bgatehouse_\w+`).FindAllString(string(rules), -1)
	if len(names) < 20 {
		t.Fatalf("the rules have %d names", len(names))
	}
	for _, name := range names {
		if !strings.Contains(page, "# TYPE "+name+" ") {
			t.Errorf("%s is not there", name)
		}
	}
}
