package config

import (
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// childMark has this test binary load settings and print what it got, in place of tests: the
// environment belongs to a process, and tests share theirs.
const childMark = "TEST_OF_CONFIG_LOADS"

// loaded is what a child prints.
type loaded struct {
	Settings Serve
	Refused  string // the setting that an Error names
	Problem  string
}

func TestMain(m *testing.M) {
	if os.Getenv(childMark) != "" {
		printLoaded()
		return
	}
	for name := range settings() { // tests have theirs as flags
		os.Unsetenv(name)
		os.Unsetenv(name + "_FILE")
	}
	os.Exit(m.Run())
}

func printLoaded() {
	var l loaded
	var err error
	if l.Settings, err = Load(os.Args[1:]); err != nil {
		l.Problem = err.Error()
		if refused, ok := errors.AsType[*Error](err); ok {
			l.Refused = refused.Setting
		}
	}
	if err := json.NewEncoder(os.Stdout).Encode(l); err != nil {
		panic(err)
	}
}

// loadIn loads in an environment of just the given variables.
func loadIn(t *testing.T, environ []string, args ...string) (l loaded) {
	t.Helper()
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	child := exec.CommandContext(t.Context(), executable, args...)
	// Without GORACE each child of a test with -race would linger for a second.
	child.Env = append([]string{childMark + "=1", "GORACE=atexit_sleep_ms=0"}, environ...)
	out, err := child.Output()
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(out, &l); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return l
}

// loadWith loads in an environment that has what is required, and the given variables.
func loadWith(t *testing.T, environ ...string) loaded {
	t.Helper()
	return loadIn(t, append([]string{"DATABASE_URL=" + testURL, "SECRET_KEY=" + testKey}, environ...))
}

func writeFile(t *testing.T, content string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFlagsComeBeforeTheEnvironment(t *testing.T) {
	t.Parallel()
	required := []string{"DATABASE_URL=" + testURL, "SECRET_KEY=" + testKey}
	l := loadIn(t, append(required, "AUDIENCE=variable", "BCRYPT_COST=11"), "--audience=flag")
	if l.Problem != "" || l.Settings.Audience != "flag" || l.Settings.BcryptCost != 11 {
		t.Errorf("%+v", l)
	}
}

func TestSecretsComeFromFiles(t *testing.T) {
	t.Parallel()
	for _, lineBreak := range []string{"", "\n", "\r\n"} {
		l := loadIn(t, []string{
			"DATABASE_URL_FILE=" + writeFile(t, testURL+lineBreak),
			"DATABASE_PASSWORD_FILE=" + writeFile(t, " kept as it is "+lineBreak),
			"SECRET_KEY_FILE=" + writeFile(t, testKey+lineBreak),
			"PASSWORD_PEPPER_FILE=" + writeFile(t, testKey+lineBreak),
		})
		s := l.Settings
		if l.Problem != "" || s.DatabaseURL != testURL || s.DatabasePassword != " kept as it is " ||
			s.SecretKey != testKey || s.PasswordPepper != testKey {
			t.Errorf("line break %q: %+v", lineBreak, l)
		}
		if s.DatabaseFiles["DATABASE_URL"] == "" || s.DatabaseFiles["DATABASE_PASSWORD"] == "" {
			t.Errorf("the files are forgotten: %v", s.DatabaseFiles)
		}
	}
}

// Of a secret that is given twice, the one that is not used is the one that somebody has just
// changed.
func TestSecretGivenTwiceIsRefused(t *testing.T) {
	t.Parallel()
	l := loadWith(t, "SECRET_KEY_FILE="+writeFile(t, testKey))
	if l.Refused != "SECRET_KEY" || !strings.Contains(l.Problem, "SECRET_KEY_FILE") {
		t.Errorf("%+v", l)
	}
}

func TestUnreadableFileIsNamed(t *testing.T) {
	t.Parallel()
	for _, path := range []string{filepath.Join(t.TempDir(), "missing"), t.TempDir()} {
		l := loadWith(t, "PASSWORD_PEPPER_FILE="+path)
		if l.Refused != "PASSWORD_PEPPER_FILE" || !strings.Contains(l.Problem, path) {
			t.Errorf("%s: %+v", path, l)
		}
	}
}

// Nobody who names a file for the pepper means that there is none.
func TestEmptySecretFileIsRefused(t *testing.T) {
	t.Parallel()
	for _, content := range []string{"", "\n", "\r\n"} {
		path := writeFile(t, content)
		l := loadWith(t, "PASSWORD_PEPPER_FILE="+path)
		if l.Refused != "PASSWORD_PEPPER_FILE" || !strings.Contains(l.Problem, path+" is empty") {
			t.Errorf("%q: %+v", content, l)
		}
	}
}

// Compose passes a variable that its user did not set as an empty one.
func TestEmptyVariableCountsAsNotSet(t *testing.T) {
	t.Parallel()
	var empty []string
	for name := range settings() {
		if name != "DATABASE_URL" && name != "SECRET_KEY" {
			empty = append(empty, name+"=", name+"_FILE=")
		}
	}
	got, want := loadWith(t, empty...), loadWith(t)
	if want.Problem != "" || !reflect.DeepEqual(got.Settings, want.Settings) || got.Problem != "" {
		t.Errorf("empty: %+v\nnot set: %+v", got, want)
	}

	l := loadIn(t, []string{"DATABASE_URL=" + testURL, "SECRET_KEY=", "SECRET_KEY_FILE=" + writeFile(t, testKey)})
	if l.Problem != "" || l.Settings.SecretKey != testKey {
		t.Errorf("an empty SECRET_KEY hides its file: %+v", l)
	}

	for _, name := range []string{"DATABASE_URL", "SECRET_KEY"} {
		if l := loadWith(t, name+"="); l.Refused != name || !strings.Contains(l.Problem, "must be set") {
			t.Errorf("empty %s: %+v", name, l)
		}
	}
}

func TestVariableThatCannotBeParsedIsNamedOnce(t *testing.T) {
	t.Parallel()
	for _, name := range []string{
		"DATABASE_MAX_CONNS", "BCRYPT_COST", "REQUEST_TIMEOUT", "TRUSTED_PROXIES", "REGISTRATION", "ALGORITHM", "LOG_LEVEL",
	} {
		l := loadWith(t, name+"=no\nsense")
		if l.Refused != name || strings.Count(l.Problem, name) != 1 {
			t.Errorf("%s: %+v", name, l)
		}
	}
}

// A misspelt variable would leave a default in force, of which nobody knows.
func TestMisspeltVariableStopsTheStart(t *testing.T) {
	t.Parallel()
	for misspelt, meant := range map[string]string{
		"ACCESS_TOKEN_EXPIRES_MINUTES": "ACCESS_TOKEN_EXPIRE_MINUTES",
		"trusted_proxies":              "TRUSTED_PROXIES",
		"TRUSTEDPROXIES":               "TRUSTED_PROXIES",
		"BCRYTP_COST":                  "BCRYPT_COST",
		"PASSWORD_PEPPERS":             "PASSWORD_PEPPER",
		"PASWORD_PEPPER_FILE":          "PASSWORD_PEPPER_FILE",
		"OPSADDR":                      "OPS_ADDR",
	} {
		l := loadWith(t, misspelt+"=canary")
		if l.Refused != misspelt || !strings.Contains(l.Problem, meant) || strings.Contains(l.Problem, "canary") {
			t.Errorf("%s: %+v", misspelt, l)
		}
	}
	for _, misspelt := range []string{"SECRETKEY", "SECRET_KEYS", "SECRET-KEY", "Secret_Key"} {
		if l := loadIn(t, []string{"DATABASE_URL=" + testURL, misspelt + "=" + testKey}); l.Refused != misspelt {
			t.Errorf("%s: %+v", misspelt, l)
		}
	}
}

func TestOtherVariablesAreNoMisspellings(t *testing.T) {
	t.Parallel()
	l := loadWith(t, "DATABASE_NAME=a", "DATABASE_USER=a", "DATABASE_HOST=a", "TEST_DATABASE_URL=a", "POSTGRES_PASSWORD=a",
		"PGPASSWORD=a", "SECRET=a", "AWS_SECRET_ACCESS_KEY=a", "LOGNAME=a", "LOG_FORMAT=a", "OPS_ADDRESS=a", "ADDR=a",
		"GATEHOUSE_PORT=tcp://10.0.0.1:8000", "GATEHOUSE_SERVICE_PORT=8000", "PATH=/bin", "HOME=/", "HOSTNAME=a", "USER=a",
		// These are near, but of settings that are set.
		"DATABASE_URI=a", "SECRET_KEYS=a")
	if l.Problem != "" {
		t.Error(l.Problem)
	}
	l = loadIn(t, []string{
		"DATABASE_URL_FILE=" + writeFile(t, testURL), "SECRET_KEY_FILE=" + writeFile(t, testKey),
		"DATABASE_URI=a", "DATABASE_URI_FILE=a", "SECRET_KEYS=a", "SECRETKEY_FILE=a",
	})
	if l.Problem != "" {
		t.Errorf("near settings that files give: %s", l.Problem)
	}
}

// A proxy has one address; a setting that wants 10.0.0.1/32 for it costs everybody a look at the
// manual.
func TestASingleAddressIsANetworkOfOne(t *testing.T) {
	t.Parallel()
	l := loadWith(t, "TRUSTED_PROXIES=10.0.0.1,::1,10.1.0.0/16")
	want := []netip.Prefix{netip.MustParsePrefix("10.0.0.1/32"), netip.MustParsePrefix("::1/128"), netip.MustParsePrefix("10.1.0.0/16")}
	if l.Problem != "" || !slices.Equal(l.Settings.TrustedProxies, want) {
		t.Errorf("%v %s", l.Settings.TrustedProxies, l.Problem)
	}
}

// Errors are logged, and pasted into tickets.
// A password of the environment or of .pgpass is on no command line.
func TestAPasswordOfADatabaseIsFoundInTheTextItself(t *testing.T) {
	t.Parallel()
	for connection, want := range map[string]bool{
		"postgres://u:p@h/d":                           true,
		"postgresql://u:p@h:5432,g:5433/d":             true,
		"postgres://u:p%40@h/d":                        true,
		"postgres://u:a/b@h/d":                         true,
		"postgres://u:a?b@h/d":                         true,
		"postgres://h/d?user=u&password=p":             true,
		"postgres://h/d?p%61ssword=p":                  true,
		"postgres://h/d?sslkey=k&sslpassword=p":        true,
		"postgres://h/d?%zz":                           true,
		"host=h password=p":                            true,
		"host=h password = 'p'":                        true,
		"host=h sslpassword=p":                         true,
		"secret":                                       true, // who knows what it is
		"u:secret@h/d":                                 true,
		"":                                             false,
		"postgres://":                                  false,
		"postgres://u@h/d":                             false,
		"postgres://u:@h/d":                            false,
		"postgres://h:5432/d":                          false,
		"postgres://u@h:5432,g:5433/d?sslmode=disable": false,
		"postgres://u@[::1]:5432/d":                    false,
		"postgres:///d?host=/run/postgresql&user=u":    false,
		"postgres://h/d?password=":                     false,
		"host=h user=u dbname=d passfile=/run/pgpass":  false,
		"dbname=password user=u":                       false,
		"host=h user=u password=":                      false,
	} {
		if got := hasPassword(connection); got != want {
			t.Errorf("%s: %t", connection, got)
		}
	}
}

func TestNoErrorQuotesASecret(t *testing.T) {
	t.Parallel()
	const canary = "canary-5e1f"
	long := strings.Repeat(canary, 3)
	for _, secret := range []string{
		"SECRET_KEY=" + canary,
		"SECRET_KEY=" + long + "," + canary,
		"SECRET_KEY= " + long,
		"PASSWORD_PEPPER=" + canary,
		"PASSWORD_PEPPER=" + long + ", " + long,
		"DATABASE_URL=" + canary,
		"DATABASE_URL=postgres://tester:" + canary + "@%zz/test",
		"DATABASE_URL=postgres://tester:" + canary + "@127.0.0.1:port/test",
		"DATABASE_URL=postgres://tester:" + canary + "%@127.0.0.1/test",
		"DATABASE_URL=postgres://tester:pass/" + canary + "@127.0.0.1/test",
		"DATABASE_URL=host=127.0.0.1 password='" + canary,
		"DATABASE_URL=host=127.0.0.1 port=" + canary,
	} {
		l := loadWith(t, secret)
		if l.Problem == "" || strings.Contains(l.Problem, canary) {
			t.Errorf("%s: %q", secret, l.Problem)
		}
	}
	for name, field := range settings() {
		if _, secret := field.Tag.Lookup("secret"); !secret {
			continue
		}
		l := loadIn(t, []string{"DATABASE_URL=" + testURL, "SECRET_KEY=" + long, "PASSWORD_PEPPER=" + long,
			"DATABASE_PASSWORD=" + canary}, flagOf(name), "-"+canary)
		if l.Refused != name || strings.Contains(l.Problem, canary) {
			t.Errorf("%s -%s: %+v", flagOf(name), canary, l)
		}
	}
}

func TestUnknownFlagIsNamedWithoutItsValue(t *testing.T) {
	t.Parallel()
	_, err := load("--secret-keys=canary")
	if err == nil || !strings.Contains(err.Error(), "--secret-keys") || strings.Contains(err.Error(), "canary") {
		t.Errorf("unknown flag: %v", err)
	}
}
