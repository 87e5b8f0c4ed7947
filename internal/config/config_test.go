package config

import (
	"errors"
	"reflect"
	"regexp"
	"strings"
	"testing"

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

// TestUnusableValuesAreRefusedByName would miss a bound that is off by one on the side of what is refused.
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
		{"ISSUER", "gatehouse.example"},
		{"ISSUER", "ftp://gatehouse.example"},
		{"ISSUER", "https://"},
		{"AUDIENCE", ""},
		{"LISTEN_ADDR", ""},
		{"LISTEN_ADDR", "8000"},
		{"LISTEN_ADDR", "::1:8000"},
		{"LISTEN_ADDR", ":65536"},
		{"LISTEN_ADDR", ":http"},
		{"OPS_ADDR", ""},
		{"OPS_ADDR", "localhost"},
		{"TRUSTED_PROXIES", "10.0.0.1"},
		{"TRUSTED_PROXIES", "10.0.0.0/33"},
		{"TRUSTED_PROXIES", "10.0.0.0/8, 192.168.0.0/16"},
		{"TRUSTED_PROXIES", "everyone"},
		{"TRUSTED_PROXIES", "0.0.0.0/0"},
		{"TRUSTED_PROXIES", "10.0.0.0/8,::/0"},
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
		{"ISSUER", "https://gatehouse.example/login"},
		{"LISTEN_ADDR", "127.0.0.1:0"},
		{"LISTEN_ADDR", "[::1]:65535"},
		{"TRUSTED_PROXIES", ""},
		{"TRUSTED_PROXIES", "10.0.0.0/8,fd00::/8"},
		{"TRUSTED_PROXIES", "0.0.0.0/1"},
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

func TestKeysKeepTheirOrder(t *testing.T) {
	t.Parallel()
	const current, former = "current 0123456789abcdef01234567", "former 0123456789abcdef012345678"
	s, err := load("--secret-key="+current+","+former, "--password-pepper="+former+","+current)
	if err != nil {
		t.Fatal(err)
	}
	keys, keysErr := s.Keys()
	peppers, peppersErr := s.Peppers()
	if err := errors.Join(keysErr, peppersErr); err != nil {
		t.Fatal(err)
	}
	if len(keys) != 2 || string(keys[0]) != current || string(keys[1]) != former {
		t.Errorf("SECRET_KEY: %q", keys)
	}
	if len(peppers) != 2 || string(peppers[0]) != former || string(peppers[1]) != current {
		t.Errorf("PASSWORD_PEPPER: %q", peppers)
	}
}

// A key that was copied from a tutorial with the code lets everybody forge tokens, in whichever place it stands.
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
func TestPasswordSurvivesItsWayIntoTheURL(t *testing.T) {
	t.Parallel()
	for _, base := range []string{
		"postgres://tester@db.example:5433/test?sslmode=disable",
		"postgresql://tester:replaced@db.example:5433/test?sslmode=disable",
		"postgres://db.example:5433/test?sslmode=disable&user=tester",
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
			if parsed.Password != password || parsed.User != "tester" || parsed.Host != "db.example" ||
				parsed.Port != 5433 || parsed.Database != "test" {
				t.Errorf("%s, %q: user %q, password %q, %s:%d, database %q", base, password,
					parsed.User, parsed.Password, parsed.Host, parsed.Port, parsed.Database)
			}
		}
	}
}

func TestPasswordBesideKeywordsIsRefused(t *testing.T) {
	t.Parallel()
	_, err := load("--database-url=host=127.0.0.1 user=tester", "--database-password=canary")
	if refused, ok := errors.AsType[*Error](err); !ok || refused.Setting != "DATABASE_URL" {
		t.Errorf("not refused as DATABASE_URL: %v", err)
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

// A setting that is missing from the table, or stands there with another default than it has, misleads operators.
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
