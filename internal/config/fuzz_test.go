package config

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// FuzzSettings gives strings to every setting. None may make Load panic, come back as other than it
// was given, or have an error quote a secret or take a second line.
func FuzzSettings(f *testing.F) {
	f.Add("postgres://tester@127.0.0.1/test", "s3cret", testKey, testKey, "30", "10s", "10.0.0.0/8", "http://localhost", ":8000", "info")
	f.Add("host=127.0.0.1 password=x", "", "", "", "-1", "1", "::/0, ::/0", "%", "::", "")
	f.Add("postgres://%zz", "\x00", "-", ",", "9223372036854775808", "1e9s", "\\,", "https://\x7f", "[", "warn+300")
	f.Fuzz(func(t *testing.T, url, password, key, pepper, number, duration, proxies, issuer, address, word string) {
		// Not a word that an error could have for another reason.
		const canary = "kanarienvogel"
		secrets := map[string]string{
			"DATABASE_URL": url, "DATABASE_PASSWORD": canary + password,
			"SECRET_KEY": key + canary, "PASSWORD_PEPPER": canary + pepper,
		}
		if word != "" {
			secrets["DATABASE_URL"] = "postgres://tester:" + canary + password + "@" + url
		}
		var flags []string
		fields := settings()
		for _, name := range slices.Sorted(maps.Keys(fields)) {
			field := fields[name]
			value, secret := secrets[name]
			switch {
			case secret:
			case name == "TRUSTED_PROXIES":
				value = proxies
			case name == "ISSUER":
				value = issuer
			case strings.HasSuffix(name, "_ADDR"):
				value = address
			case field.Type.Name() == "Duration":
				value = duration
			case field.Type.Kind() == reflect.String || field.Type.Name() == "Level":
				value = word
			default:
				value = number
			}
			if secret && strings.HasPrefix(number, "-") {
				flags = append(flags, flagOf(name), value)
			} else {
				flags = append(flags, flagOf(name)+"="+value)
			}
		}
		s, err := Load(flags)
		if err != nil {
			if strings.Contains(err.Error(), canary) {
				t.Errorf("a secret is quoted: %v", err)
			}
			return
		}
		if s.SecretKey != secrets["SECRET_KEY"] || s.DatabasePassword != secrets["DATABASE_PASSWORD"] {
			t.Errorf("secrets are not as given: %q, %q", s.SecretKey, s.DatabasePassword)
		}
		if _, err := s.URL(); err != nil {
			t.Errorf("valid settings have no URL: %v", err)
		}
	})
}
