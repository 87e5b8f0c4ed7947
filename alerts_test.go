package gatehouse_test

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// An alert that never fires, or fires each day, is worse than none.
func TestTheAlertsFireWhenTheyMustAndHaveTheirChapter(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("promtool"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	run(t, "deploy/observability", "promtool", "check", "rules", "alerts.yml")
	run(t, "deploy/observability", "promtool", "test", "rules", "alerts_test.yml")
	rules, tried := read(t, "deploy/observability/alerts.yml"), read(t, "deploy/observability/alerts_test.yml")
	page := read(t, "docs/alerts.md")
	for _, alert := range regexp.MustCompile(`(?s)alert: (\w+)\n.*?runbook: docs/alerts.md#(\S+)`).
		FindAllStringSubmatch(rules, -1) {
		name, chapter := alert[1], "\n## "+strings.ReplaceAll(alert[2], "-", " ")+"\n"
		if !strings.Contains(strings.ToLower(page), chapter) || !strings.Contains(page, "`"+name+"`") {
			t.Errorf("docs/alerts.md has no chapter for %s", name)
		}
		if strings.Count(tried, "alertname: "+name+"\n") != 2 {
			t.Errorf("%s must be tried twice: when it fires, and on a quiet day", name)
		}
	}
	for _, name := range regexp.MustCompile("`(Gatehouse\\w+)`").FindAllStringSubmatch(page, -1) {
		if !strings.Contains(rules, "alert: "+name[1]+"\n") {
			t.Errorf("docs/alerts.md tells of %s, which is no alert", name[1])
		}
	}
}
