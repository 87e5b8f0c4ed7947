package main

import (
	"bytes"
	"context"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"gatehouse.example/internal/dbtest"
	"gatehouse.example/internal/doctor"
)

const soundKey = "6c1f0a9be2d74853a1c46f7092bd3e58c07d9a61e4b25f83"

// examined runs doctor, and returns its findings by check.
func examined(t *testing.T, code int, flags ...string) map[string]doctor.Finding {
	t.Helper()
	e := gatehouse(t, "", append([]string{"doctor", "--json", "--bcrypt-cost=10"}, flags...)...)
	if e.code != code || (code == exitOK) != (e.err == "") {
		t.Fatalf("exit code %d, want %d: %s%s", e.code, code, e.err, e.out)
	}
	_, secrets := environ(flags)
	for _, s := range secrets {
		_, value, _ := strings.Cut(s, "=")
		if u, err := url.Parse(value); err == nil && u.User != nil {
			value, _ = u.User.Password()
		}
		if strings.Contains(e.out, value) {
			t.Errorf("a secret is shown: %s", e.out)
		}
	}
	found := map[string]doctor.Finding{}
	for _, f := range linesFromJSON[doctor.Finding](t, e.out) {
		if f.Found == "" || (f.Next == "") == (f.Status == doctor.Warn || f.Status == doctor.Fail) {
			t.Errorf("%+v", f)
		}
		found[f.Check] = f
	}
	return found
}

// wantFound compares findings with what is wanted of each check: the status, and some words.
func wantFound(t *testing.T, found map[string]doctor.Finding, want map[string]string) {
	t.Helper()
	for check, finding := range want {
		status, says, _ := strings.Cut(finding, " ")
		if got := found[check]; string(got.Status) != status || !strings.Contains(got.Found, says) {
			t.Errorf("%s: %+v, want %q", check, got, finding)
		}
	}
}

// An operator who is told of a fault that is none looks for it all night. The tables of a service
// that runs are no place to write into.
func TestDoctorFindsNothingWrongAndChangesNothing(t *testing.T) {
	t.Parallel()
	a := newAccounts(t, "--secret-key="+soundKey)
	a.run("", "key", "reset", "--yes").succeeded(t) // there are keys then
	before := a.tables()
	for line := range strings.Lines(a.run("", "doctor", "--bcrypt-cost=10").succeeded(t)) {
		// what a machine can do is its own
		if !strings.HasPrefix(line, "ok ") && !strings.Contains(line, "priority") && !strings.Contains(line, "hashing") {
			t.Error(line)
		}
	}
	a.wantTables(before)
}

func TestDoctorFindsWhatIsWrong(t *testing.T) {
	t.Parallel()
	a := newAccounts(t)
	a.insert("alice")
	a.run("", "key", "reset", "--yes", "--secret-key="+soundKey).succeeded(t)
	a.asOwner(`INSERT INTO password_keys (id, check_value) VALUES ('feed', sha256('x'));
		INSERT INTO passkey_rp (rp_id) VALUES ('login.example.net');
		INSERT INTO passkeys (id, user_id, credential_id, public_key, name, sign_count, aaguid, backup_eligible, backed_up, user_verified, transports)
			SELECT gen_random_uuid(), id, 'id', 'key', 'Key', 0, id, false, false, true, '{}' FROM users;
		GRANT DELETE ON audit_events TO ` + dbtest.ServiceRole)
	found := examined(t, exitFailed, append(a.flags, "--secret-key="+testKey, "--password-pepper="+strings.Repeat("pepper", 9),
		"--issuer=http://id.example.org", "--breached-passwords=/nowhere", "--database-max-conns=10000",
		"--tutorial-tokens=on", "--algorithm=HS256", "--email=optional", "--via=https://"+dbtest.FreeAddr(t))...)
	wantFound(t, found, map[string]string{
		"settings": "ok", "database": "ok", "schema": "ok", "PostgreSQL": "ok PostgreSQL", "isolation": "ok", "clock": "ok",
		"SECRET_KEY": "warn key 1 of SECRET_KEY", "PASSWORD_PEPPER": "warn key 1 of PASSWORD_PEPPER",
		"issuer": "warn not https", "leaked passwords": "fail open /nowhere",
		"peppers": `fail PASSWORD_PEPPER lacks the key "feed"`, "passkeys": "fail set WEBAUTHN_RP_ID=login.example.net",
		"secret key": "fail SECRET_KEY is not the one of this installation", "signing keys": "fail SECRET_KEY does not open",
		"tutorial tokens": "fail TUTORIAL_TOKENS", "rights": "warn may change the audit log",
		"connections": "fail up to 10002 connections", "proxies": "ok", "mail": "warn no mail is sent",
		"certificate": "fail refused", "way": "skip", "upkeep": "ok", "jobs": "ok",
	})
	wantFound(t, examined(t, exitOK, "--database-url="+dbtest.Owner(t, dbtest.New(t)), "--secret-key="+soundKey), map[string]string{
		"rights": "warn is a superuser", "signing keys": "warn no key signs yet",
	})
}

// What cannot be looked at must not look as if it were well.
func TestDoctorSkipsWhatNeedsSomethingThatFails(t *testing.T) {
	t.Parallel()
	const key = "--secret-key=" + soundKey
	unreachable := "--database-url=postgres://tester:canary-1d2c@" + dbtest.FreeAddr(t) + "/test"
	database := dbtest.New(t)
	for failing, flags := range map[string][]string{
		"settings fail WEBAUTHN_RP_ID":   {key, "--database-url=" + database, "--webauthn-rp-id=other.example"},
		"settings fail APP_LOGO":         {key, "--database-url=" + database, "--app-logo=/nowhere"},
		"database fail be reached as":    {key, unreachable},
		"database fail encoding is LATI": {key, "--database-url=" + inLatin(t)},
		"schema fail older than this":    {key, "--database-url=" + dbtest.Empty(t)},
	} {
		check, want, _ := strings.Cut(failing, " ")
		found := examined(t, exitFailed, flags...)
		wantFound(t, found, map[string]string{check: want, "rights": "skip", "clock": "skip", "secret files": "ok"})
		for f := range maps.Values(found) {
			if f.Status == doctor.Fail && f.Check != check {
				t.Errorf("%s: %+v", failing, f)
			}
		}
	}
}

// inLatin makes a database with an encoding in which the same bytes would be another name.
func inLatin(t *testing.T) string {
	t.Helper()
	database, err := url.Parse(dbtest.Empty(t))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.Connect(t.Context(), database.String())
	if err != nil {
		t.Fatal(err)
	}
	name := strings.TrimPrefix(database.Path, "/") + "_latin"
	made := accounts{T: t, url: database.String()}
	made.asOwner("CREATE DATABASE " + name + " ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
	t.Cleanup(func() {
		ctx := context.Background()
		if _, err := conn.Exec(ctx, "DROP DATABASE "+name+" WITH (FORCE)"); err != nil {
			t.Error(err)
		}
		conn.Close(ctx)
	})
	database.Path = name
	return database.String()
}

// A secret that everybody on the machine can read is none. A folder that is closed to others keeps
// it too.
func TestDoctorFindsFilesOfSecretsThatOthersCanRead(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		folder, file os.FileMode
		want         doctor.Status
	}{{0o755, 0o644, doctor.Warn}, {0o700, 0o644, doctor.OK}, {0o755, 0o640, doctor.OK}} {
		dir, err := os.MkdirTemp("", "doctor")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.RemoveAll(dir) })
		file := filepath.Join(dir, "secret_key")
		for _, err := range []error{os.WriteFile(file, []byte(soundKey), 0o600), os.Chmod(file, test.file), os.Chmod(dir, test.folder)} {
			if err != nil {
				t.Fatal(err)
			}
		}
		variables := map[string]string{"SECRET_KEY_FILE": file, "DATABASE_URL": "postgres://tester@" + dbtest.FreeAddr(t) + "/test"}
		var out, errs bytes.Buffer
		run(t.Context(), []string{"doctor", "--json"}, terminal{out: &out, err: &errs, getenv: func(name string) string { return variables[name] }})
		found := linesFromJSON[doctor.Finding](t, out.String())
		n := slices.IndexFunc(found, func(f doctor.Finding) bool { return f.Check == "secret files" })
		if n < 0 || found[n].Status != test.want || !strings.Contains(found[n].Found, file) {
			t.Errorf("%v: %s%s", test, &out, &errs)
		}
	}
}
