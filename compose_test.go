package gatehouse_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

// compose is what the documents say something of in docker-compose.yml.
type compose struct {
	Name     string
	Services map[string]struct {
		Environment map[string]string
		Secrets     []string
	}
	Secrets map[string]struct{ File string }
}

func composeFile(t *testing.T) (c compose) {
	t.Helper()
	if err := yaml.Unmarshal([]byte(read(t, "docker-compose.yml")), &c); err != nil {
		t.Fatal(err)
	}
	return c
}

// composeTable is the table of docs/operations.md: what to type with Compose, by what to type
// without it.
func composeTable(t *testing.T) map[string]string {
	t.Helper()
	_, table, found := strings.Cut(read(t, "docs/operations.md"), "\n| without Compose | with Compose |\n|---|---|\n")
	table, _, ended := strings.Cut(table, "\n\n")
	if !found || !ended {
		t.Fatal("docs/operations.md has no table for Compose")
	}
	typed := map[string]string{}
	for row := range strings.SplitSeq(table, "\n") {
		cells := strings.Split(row, " | ")
		if len(cells) != 2 {
			t.Fatalf("the row %q", row)
		}
		typed[strings.Trim(cells[0], "|` ")] = strings.Trim(cells[1], "|` ")
	}
	return typed
}

// Who follows the table at night, and meets a service, a database or a role that has another name
// by now, restores nothing.
func TestTheTableForComposeNamesWhatComposeHas(t *testing.T) {
	t.Parallel()
	file, typed, roles := composeFile(t), composeTable(t), read(t, "deploy/postgres-init.sql")
	command := regexp.MustCompile(`^docker compose (?:run --rm|exec -T|stop) (\w+)`)
	services := map[string]string{}
	for without, with := range typed {
		match := command.FindStringSubmatch(with)
		if match == nil {
			continue
		}
		services[without] = match[1]
		if _, there := file.Services[match[1]]; !there {
			t.Errorf("%s: there is no service %s", with, match[1])
		}
		for _, option := range regexp.MustCompile(`--(\w+)=(\w+)`).FindAllStringSubmatch(with, -1) {
			made := map[string]string{"username": "CREATE ROLE ", "dbname": "CREATE DATABASE "}[option[1]]
			if made != "" && option[2] != "postgres" && !strings.Contains(roles, made+option[2]+" ") {
				t.Errorf("%s: nothing makes the %s %s", with, option[1], option[2])
			}
		}
		if strings.Contains(with, "pg_dump") && !strings.HasSuffix(with, " gatehouse >gatehouse.dump") {
			t.Errorf("%s: another database", with)
		}
	}
	for without, user := range map[string]string{"as_owner gatehouse …": "gatehouse", "as_service gatehouse …": "gatehouse_service"} {
		service := file.Services[services[without]]
		if !strings.HasPrefix(service.Environment["DATABASE_URL"], "postgres://"+user+"@postgres:5432/gatehouse?") {
			t.Errorf("%s: the service %q is another role's: %v", without, services[without], service.Environment)
		}
	}
	for _, without := range []string{"stop", "psql …", "pg_dump …", "pg_restore …"} {
		if want := map[bool]string{true: "gatehouse", false: "postgres"}[without == "stop"]; services[without] != want {
			t.Errorf("%s: the service %q, want %s", without, services[without], want)
		}
	}
	text := read(t, "docs/operations.md")
	for name, secret := range file.Secrets {
		if secret.File != "${SECRETS_DIR:-./deploy/secrets}/"+name || !strings.Contains(text, "`"+name+"`") {
			t.Errorf("docs/operations.md lacks the secret %s, whose file is %s", name, secret.File)
		}
	}
}

// Who sets a variable that does nothing, or looks for one that is not listed, changes the file
// instead, and loses that with the next version.
func TestTheVariablesAtTheHeadOfTheComposeFileAreThoseThatItReads(t *testing.T) {
	t.Parallel()
	text := read(t, "docker-compose.yml")
	head, body, found := strings.Cut(text, "\nname: ")
	if !found {
		t.Fatal("docker-compose.yml has no head")
	}
	reads := map[string]string{} // defaults
	for _, match := range regexp.MustCompile(`\$\{(\w+):-([^}]*)\}?`).FindAllStringSubmatch(body, -1) {
		if name, value := match[1], match[2]; reads[name] == "" || reads[name] == value {
			reads[name] = value
		} else {
			t.Errorf("%s has two defaults: %q and %q", name, reads[name], value)
		}
	}
	listed := map[string]bool{}
	for _, match := range regexp.MustCompile(`(?m)^# ([A-Z*_]+)  +(.*)$`).FindAllStringSubmatch(head, -1) {
		name := match[1]
		listed[name] = true
		value, isRead := reads[name]
		if name == "*_IMAGE" {
			continue
		}
		value = strings.Replace(value, "${PORT:-8000", "PORT", 1)
		if !isRead || value != "" && !strings.Contains(match[2], "("+value+")") {
			t.Errorf("%s is read: %t, with the default %q; the head says %q", name, isRead, value, match[2])
		}
	}
	for name := range reads {
		if !listed[name] && !strings.HasSuffix(name, "_IMAGE") && !slices.Contains([]string{"VERSION", "GOPROXY", "GOFLAGS"}, name) {
			t.Errorf("the head lacks %s", name)
		}
	}
	if len(listed) < 4 {
		t.Errorf("the head lists %v", listed)
	}
}
