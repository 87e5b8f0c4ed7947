package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	testURL = "postgres://tester@127.0.0.1:5432/test"
	testKey = "0123456789abcdef0123456789abcdef"
)

// load reads flags after those that are required.
func load(flags ...string) (Serve, error) {
	return Load(append([]string{"--database-url=" + testURL, "--secret-key=" + testKey}, flags...))
}

// TestUnusableValuesAreRefusedByName would miss a bound that is off by one on the side of what is
// refused.
func TestUnusableValuesAreRefusedByName(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ setting, value string }{
		{"DATABASE_URL", ""},
		{"DATABASE_URL", "mysql://127.0.0.1/test"},
		{"DATABASE_URL", "postgres://127.0.0.1:port/test"},
		{"DATABASE_URL", "postgres://127.0.0.1/%zz"},
		{"DATABASE_URL", testURL + "?sslmode=verify-full&sslrootcert=/nonexistent"},
		{"KEY_ROTATION_DAYS", "-1"},
		{"KEY_ROTATION_DAYS", "3651"},
		{"ALGORITHM", "none"},
		{"ALGORITHM", "es256"},
		{"DATABASE_MAX_CONNS", "-1"},
		{"DATABASE_MAX_CONNS", "2147483648"},
		{"DATABASE_STATEMENT_TIMEOUT", "99ms"},
		{"DATABASE_STATEMENT_TIMEOUT", "5"},
		{"BCRYPT_COST", "9"},
		{"BCRYPT_COST", "17"},
		{"BCRYPT_COST", "high"},
		{"PASSWORD_PEPPER", testKey[1:]},
		{"PASSWORD_PEPPER", testKey + ","},
		{"PASSWORD_PEPPER", testKey + ", " + testKey},
		{"PASSWORD_MIN_LENGTH", "7"},
		{"PASSWORD_WORDS", "bakery,a-b-c"},
		{"PASSWORD_MIN_LENGTH", "65"},
		{"PASSWORD_QUEUE", "-1"},
		{"PASSWORD_QUEUE", "10001"},
		{"SECRET_KEY", ""},
		{"SECRET_KEY", testKey[1:]},
		{"SECRET_KEY", "," + testKey},
		{"SECRET_KEY", testKey + "," + testKey[1:]},
		{"SECRET_KEY", testKey + ", another " + testKey},
		{"SECRET_KEY", testKey + "\n"},
		{"ALGORITHM", "none"},
		{"ACCESS_TOKEN_EXPIRE_MINUTES", "0"},
		{"ACCESS_TOKEN_EXPIRE_MINUTES", "1441"},
		{"ISSUER", ""},
		{"ISSUER", "login.example"},
		{"ISSUER", "ftp://login.example"},
		{"ISSUER", "https://"},
		{"AUDIENCE", ""},
		{"MAIL_FROM", "login"},
		{"MAIL_FROM", "login@example.org\r\nBcc: mallory@example.net"},
		{"MAIL_REPLY_TO", "a@example.org, b@example.org"},
		{"MAIL_REPLY_TO", "a@exa_mple.org"},
		{"FACTORS", "on"},
		{"TRUSTED_DEVICE_LIFETIME", "-1s"},
		{"TLS_CERT_FILE", "tls.crt"}, // without its key
		{"TRUSTED_DEVICE_LIFETIME", "8760h1s"},
		{"LISTEN_ADDR", ""},
		{"LISTEN_ADDR", "8000"},
		{"LISTEN_ADDR", "::1:8000"},
		{"LISTEN_ADDR", ":65536"},
		{"LISTEN_ADDR", ":http"},
		{"OPS_ADDR", ""},
		{"OPS_ADDR", "localhost"},
		{"TRUSTED_PROXIES", "fe80::1%eth0"},
		{"TRUSTED_PROXIES", "10.0.0.0/33"},
		{"TRUSTED_PROXIES", "10.0.0.0/8, 192.168.0.0/16"},
		{"TRUSTED_PROXIES", "everyone"},
		{"TRUSTED_PROXIES", "0.0.0.0/0"},
		{"TRUSTED_PROXIES", "10.0.0.0/8,::/0"},
		{"CORS_ORIGINS", "*"},
		{"CORS_ORIGINS", "null"},
		{"CORS_ORIGINS", "https://*.example.com"},
		{"CORS_ORIGINS", "https://app.example.com/"},
		{"CORS_ORIGINS", "https://app.example.com/login"},
		{"CORS_ORIGINS", "https://app.example.com?x"},
		{"CORS_ORIGINS", "https://app.example.com#x"},
		{"CORS_ORIGINS", "https://user@app.example.com"},
		{"CORS_ORIGINS", "https://App.example.com"},
		{"CORS_ORIGINS", "HTTPS://app.example.com"},
		{"CORS_ORIGINS", "https://bücher.example"},
		{"CORS_ORIGINS", "https://app.example.com:443"},
		{"CORS_ORIGINS", "https://app.example.com:"},
		{"CORS_ORIGINS", "https://app.example.com:0"},
		{"CORS_ORIGINS", "https://app.example.com:65536"},
		{"CORS_ORIGINS", "https://app.example.com:08443"},
		{"CORS_ORIGINS", "https://[0::1]"},
		{"CORS_ORIGINS", "http://app.example.com"},
		{"CORS_ORIGINS", "http://localhost.example.com"},
		{"CORS_ORIGINS", "http://examplelocalhost"},
		{"COOKIE_DOMAIN", "example.org"},
		{"CORS_ORIGINS", "http://localhost:80"},
		{"CORS_ORIGINS", "app.example.com"},
		{"CORS_ORIGINS", "//app.example.com"},
		{"CORS_ORIGINS", "file://"},
		{"CORS_ORIGINS", "chrome-extension://abc"},
		{"CORS_ORIGINS", "https://"},
		{"CORS_ORIGINS", "https://app.example.com,https://other.example.com/"},
		{"CORS_ORIGINS", "https://app.example.com https://other.example.com"},
		{"RETURN_ORIGINS", "https://wiki.example.org/"},
		{"RETURN_ORIGINS", "https://wiki.example.org,http://wiki.example.org"},
		{"RETURN_ORIGINS", "https://*.example.org"},
		{"APP_NAME", " "},
		{"FORWARDED_HEADER", "X-Real-IP"},
		{"PROXY_PROTOCOL", "true"}, // of whom?
		{"PROXY_PROTOCOL", "v2"},
		{"ACCOUNT_FAILURES", "-1"},
		{"ACCOUNT_FAILURES", "1000001"},
		{"ACCOUNT_FAILURES_PER_MINUTE", "-1"},
		{"ACCOUNT_FAILURES_PER_DAY", "-1"},
		{"ADDRESS_FAILURES", "-1"},
		{"ADDRESS_FAILURES_PER_MINUTE", "-1"},
		{"ADDRESS_REGISTRATIONS", "-1"},
		{"ADDRESS_REGISTRATIONS_PER_HOUR", "-1"},
		{"REGISTRATION", "ajar"},
		{"REFRESH_GRACE_SECONDS", "-1"},
		{"REFRESH_GRACE_SECONDS", "301"},
		{"REFRESH_REPEAT_FROM_OTHER_NETWORK", "twice"},
		{"REQUEST_TIMEOUT", "99ms"},
		{"REQUEST_TIMEOUT", "10"},
		{"SHUTDOWN_DELAY", "-1s"},
		{"SHUTDOWN_GRACE", "-1s"},
		{"LOG_LEVEL", "loud"},
	} {
		_, err := load(flagOf(test.setting) + "=" + test.value)
		refused, ok := errors.AsType[*Error](err)
		if !ok || refused.Setting != test.setting || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s=%q: %v", test.setting, test.value, err)
		}
	}
}

// TestBoundsAreAccepted would miss a bound that is off by one on the side of what is accepted.
func TestBoundsAreAccepted(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ setting, value string }{
		{"DATABASE_URL", "host=127.0.0.1 dbname=test"},
		{"CORS_ORIGINS", ""},
		{"CORS_ORIGINS", "https://app.example.com,https://app.example.com:8443,http://localhost:5173"},
		{"CORS_ORIGINS", "http://127.0.0.1:65535,http://[::1]:1,http://localhost,https://192.0.2.1"},
		{"RETURN_ORIGINS", "http://wiki.bakery.localhost:8080"},
		{"CORS_ORIGINS", "https://xn--bcher-kva.example"},
		{"RETURN_ORIGINS", "https://wiki.example.org,https://shop.example.org:8443,http://localhost:3000"},
		{"APP_NAME", "Bäckerei <Example> & Sons"},
		{"DATABASE_MAX_CONNS", "0"},
		{"DATABASE_MAX_CONNS", "2147483647"},
		{"DATABASE_STATEMENT_TIMEOUT", "100ms"},
		{"BCRYPT_COST", "10"},
		{"BCRYPT_COST", "16"},
		{"PASSWORD_PEPPER", ""},
		{"PASSWORD_PEPPER", testKey},
		{"PASSWORD_MIN_LENGTH", "8"},
		{"PASSWORD_MIN_LENGTH", "64"},
		{"PASSWORD_QUEUE", "0"},
		{"PASSWORD_QUEUE", "10000"},
		{"SECRET_KEY", testKey + ",another " + testKey},
		{"ACCESS_TOKEN_EXPIRE_MINUTES", "1"},
		{"ACCESS_TOKEN_EXPIRE_MINUTES", "1440"},
		{"ISSUER", "https://login.example/login"},
		{"LISTEN_ADDR", "127.0.0.1:0"},
		{"LISTEN_ADDR", "[::1]:65535"},
		{"TRUSTED_PROXIES", ""},
		{"TRUSTED_PROXIES", "10.0.0.0/8,fd00::/8"},
		{"TRUSTED_PROXIES", "0.0.0.0/1"},
		{"TRUSTED_PROXIES", "10.0.0.1,::1"},
		{"FORWARDED_HEADER", "Forwarded"},
		{"ACCOUNT_FAILURES", "0"},
		{"ACCOUNT_FAILURES", "1000000"},
		{"ACCOUNT_FAILURES_PER_MINUTE", "0"},
		{"ACCOUNT_FAILURES_PER_DAY", "0"},
		{"ADDRESS_FAILURES", "0"},
		{"ADDRESS_FAILURES_PER_MINUTE", "0"},
		{"ADDRESS_REGISTRATIONS", "0"},
		{"ADDRESS_REGISTRATIONS_PER_HOUR", "0"},
		{"REGISTRATION", "closed"},
		{"REQUEST_TIMEOUT", "100ms"},
		{"SHUTDOWN_DELAY", "0s"},
		{"SHUTDOWN_GRACE", "0s"},
		{"LOG_LEVEL", "DEBUG"},
	} {
		if _, err := load(flagOf(test.setting) + "=" + test.value); err != nil {
			t.Errorf("%s=%q: %v", test.setting, test.value, err)
		}
	}
}

func flagOf(setting string) string {
	return "--" + strings.ReplaceAll(strings.ToLower(setting), "_", "-")
}

// A client is told after REQUEST_TIMEOUT to come again in five seconds. Installations that say less
// must go on starting.
func TestAGraceThatARetryCannotMeetIsRaised(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		flags  []string
		want   time.Duration
		raised bool
	}{
		{nil, time.Minute, false},
		{[]string{"--refresh-grace-seconds=0"}, 0, false},
		{[]string{"--refresh-grace-seconds=1"}, 15 * time.Second, true},
		{[]string{"--refresh-grace-seconds=10"}, 15 * time.Second, true},
		{[]string{"--refresh-grace-seconds=14"}, 15 * time.Second, true},
		{[]string{"--refresh-grace-seconds=15"}, 15 * time.Second, false},
		{[]string{"--request-timeout=2m"}, 125 * time.Second, true},
		{[]string{"--request-timeout=10m", "--refresh-grace-seconds=300"}, 605 * time.Second, true},
	} {
		s, err := load(test.flags...)
		if err != nil {
			t.Fatal(err)
		}
		if got, raised := s.RefreshGrace(5 * time.Second); got != test.want || raised != test.raised {
			t.Errorf("%v: %v, raised: %t", test.flags, got, raised)
		}
	}
}

func TestKeysKeepTheirOrder(t *testing.T) {
	t.Parallel()
	const current, former = "current 0123456789abcdef01234567", "former 0123456789abcdef012345678"
	s, err := load("--secret-key="+current+","+former, "--password-pepper="+former+","+current)
	if err != nil {
		t.Fatal(err)
	}
	chain, chainErr := s.Keychain()
	peppers, peppersErr := s.Peppers()
	if err := errors.Join(chainErr, peppersErr); err != nil {
		t.Fatal(err)
	}
	keys := chain.Secrets()
	if len(keys) != 2 || string(keys[0]) != current || string(keys[1]) != former {
		t.Errorf("SECRET_KEY: %q", keys)
	}
	if len(peppers) != 2 || string(peppers[0]) != former || string(peppers[1]) != current {
		t.Errorf("PASSWORD_PEPPER: %q", peppers)
	}
}

// A key that was copied from a tutorial with the code lets everybody forge tokens, in whichever
// place it stands.
func TestPublishedKeysAreRefused(t *testing.T) {
	t.Parallel()
	for _, published := range []string{
		"09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7",
		"83daa0256a2289b0fb23693bf1f6034d44396675749244721a2b20e896e11662",
	} {
		for _, given := range []string{published, testKey + "," + published} {
			_, err := load("--secret-key=" + given)
			if refused, ok := errors.AsType[*Error](err); !ok || refused.Setting != "SECRET_KEY" {
				t.Errorf("%s is accepted", given)
			} else if strings.Contains(err.Error(), published[:8]) {
				t.Errorf("quoted: %v", err)
			}
		}
	}
}

// A password that is put into the URL without escaping changes the URL around it.
func TestPasswordSurvivesItsWayIntoTheConnectionString(t *testing.T) {
	t.Parallel()
	for base, host := range map[string]string{
		"postgres://tester@db.example:5433/test?sslmode=disable":                   "db.example",
		"postgresql://tester:replaced@db.example:5433/test?sslmode=disable":        "db.example",
		"postgres://db.example:5433/test?sslmode=disable&user=tester":              "db.example",
		"postgres://tester@/test?host=/run/postgresql&port=5433":                   "/run/postgresql",
		"postgres:///test?host=/run/postgresql&port=5433&user=tester":              "/run/postgresql",
		"postgres://tester@%2Frun%2Fpostgresql:5433/test":                          "/run/postgresql",
		"postgres://tester:replaced@db.example:5433/test":                          "db.example",
		"postgres://tester@db.example:5433/test?password=replaced":                 "db.example",
		"host=db.example port=5433 user=tester dbname=test":                        "db.example",
		"host=/run/postgresql port=5433 user=tester password=replaced dbname=test": "/run/postgresql",
	} {
		for _, password := range []string{
			"simple", "p@ss:w/ord?x=y#z", "100%", "%41", "a b+c&d", `quo"te'\back`, "päßwörd€", " lead and trail ", "[::1]",
		} {
			connection, err := Database{DatabaseURL: base, DatabasePassword: password, DatabaseStatementTimeout: 1e9}.URL()
			if err != nil {
				t.Errorf("%s, %q: %v", base, password, err)
				continue
			}
			parsed, err := pgx.ParseConfig(connection)
			if err != nil {
				t.Errorf("%s, %q: %v", base, password, err)
				continue
			}
			if parsed.Password != password || parsed.User != "tester" || parsed.Host != host ||
				parsed.Port != 5433 || parsed.Database != "test" {
				t.Errorf("%s, %q: user %q, password %q, %s:%d, database %q", base, password,
					parsed.User, parsed.Password, parsed.Host, parsed.Port, parsed.Database)
			}
		}
	}
}

// Without a user in the URL it is PGUSER, or that of the operating system: not one without a name.
func TestAPasswordTakesNoUserAway(t *testing.T) {
	t.Parallel()
	const base = "postgres:///test?host=/run/postgresql"
	want, err := pgx.ParseConfig(base)
	if err != nil {
		t.Fatal(err)
	}
	connection, err := Database{DatabaseURL: base, DatabasePassword: "p", DatabaseStatementTimeout: 1e9}.URL()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := pgx.ParseConfig(connection); err != nil || got.User != want.User || got.Password != "p" {
		t.Errorf("%+v, %v", got, err)
	}
}

// A password is rotated while the service runs: new connections must have the new one.
func TestSecretsOfTheDatabaseAreReadAnewFromTheirFiles(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "secret")
	write := func(content string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for setting, content := range map[string]string{"DATABASE_PASSWORD": "%s\n", "DATABASE_URL": "postgres://tester:%s@db.example/test\n"} {
		d := Database{
			DatabaseURL: "postgres://tester@db.example/test", DatabaseStatementTimeout: 1e9,
			DatabaseFiles: map[string]string{setting: file},
		}
		for _, password := range []string{"first", "second"} {
			write(fmt.Sprintf(content, password))
			connection, err := d.Renewed()
			if err != nil || !strings.Contains(connection, password) {
				t.Errorf("%s: %s, %v", setting, connection, err)
			}
		}
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		if _, err := d.Renewed(); err == nil || !strings.Contains(err.Error(), setting+"_FILE") {
			t.Errorf("without the file: %v", err)
		}
	}
}

// settings are the fields of Serve by the names of their environment variables.
func settings() map[string]reflect.StructField {
	found := make(map[string]reflect.StructField)
	for _, field := range reflect.VisibleFields(reflect.TypeFor[Serve]()) {
		if name := field.Tag.Get("env"); name != "" {
			found[name] = field
		}
	}
	return found
}

// row is a line of the table: setting, whether it may come from a file, default, text.
var row = regexp.MustCompile("(?m)^\\| `([A-Z_]+)`( \\(or `[A-Z_]+_FILE`\\))? \\| (?:`([^`|]+)`)? ?\\| ([^|]+) \\|$")

// A setting that is missing from the table, or stands there with another default than it has,
// misleads operators.
func TestTableHasEverySettingWithItsDefault(t *testing.T) {
	t.Parallel()
	table, err := Markdown()
	if err != nil {
		t.Fatal(err)
	}
	rows := row.FindAllStringSubmatch(table, -1)
	if lines := strings.Count(table, "\n"); lines != len(rows)+2 {
		t.Fatalf("%d rows in %d lines:\n%s", len(rows), lines, table)
	}
	fields := settings()
	if len(rows) != len(fields) {
		t.Errorf("%d rows for %d settings", len(rows), len(fields))
	}
	implicit, err := load()
	if err != nil {
		t.Fatal(err)
	}
	var documented []string
	for _, row := range rows {
		name, file, value := row[1], row[2], row[3]
		field, known := fields[name]
		if !known {
			t.Errorf("%s is no setting", name)
			continue
		}
		if _, secret := field.Tag.Lookup("secret"); secret != (file != "") {
			t.Errorf("%s: secret: %v; in the table: %q", name, secret, file)
		}
		switch {
		case value != "":
			documented = append(documented, flagOf(name)+"="+value)
		case name != "DATABASE_URL" && name != "SECRET_KEY": // which load gives
			if !reflect.ValueOf(implicit).FieldByIndex(field.Index).IsZero() {
				t.Errorf("%s has a default that is not in the table", name)
			}
		}
	}
	explicit, err := load(documented...)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(implicit, explicit) {
		t.Errorf("without flags: %+v\nwith the table's defaults: %+v", implicit, explicit)
	}
}
