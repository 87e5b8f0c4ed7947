package config

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// Environment is an option for a command line that has settings. kong reads flags from the
// environment by itself. With this option, a secret X may also come from the file that X_FILE
// names, an empty variable counts as not set, and a variable whose name is almost that of a setting
// is an error.
func Environment() kong.Option { return SecretsFrom(os.Getenv) }

// SecretsFrom is [Environment], but takes the variables of secrets from elsewhere.
func SecretsFrom(getenv func(name string) string) kong.Option {
	resolve := func(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
		if isSecret(flag) {
			return resolveSecret(flag, getenv)
		}
		return resolve(flag)
	}
	return kong.OptionFunc(func(k *kong.Kong) error {
		return errors.Join(
			kong.Resolvers(kong.ResolverFunc(resolve)).Apply(k),
			kong.WithBeforeResolve(checkEnvironment).Apply(k),
			kong.TypeMapper(reflect.TypeFor[netip.Prefix](), kong.MapperFunc(decodeNetwork)).Apply(k),
		)
	})
}

// resolve returns the value of a flag that is not on the command line, or nil to leave the value
// that it has.
func resolve(flag *kong.Flag) (any, error) {
	if len(flag.Envs) > 0 && os.Getenv(flag.Envs[0]) == "" && flag.HasDefault {
		return flag.Default, nil
	}
	return nil, nil
}

func resolveSecret(flag *kong.Flag, getenv func(string) string) (any, error) {
	name := flag.Envs[0]
	value, file := getenv(name), getenv(name+"_FILE")
	switch {
	case file == "" && value == "":
		return nil, nil
	case file == "":
		return value, nil
	case value != "":
		return nil, &Error{name, "is set, and so is " + name + "_FILE: choose one"}
	}
	return readSecret(name+"_FILE", file)
}

// SecretFiles returns the files that secrets come from, by setting.
func SecretFiles(getenv func(name string) string) map[string]string {
	files := map[string]string{}
	for _, field := range reflect.VisibleFields(reflect.TypeFor[Serve]()) {
		setting := field.Tag.Get("env")
		if _, secret := field.Tag.Lookup("secret"); !secret {
			continue
		}
		if file := getenv(setting + "_FILE"); file != "" {
			files[setting] = file
		}
	}
	return files
}

// RefuseSecretFlags refuses secrets on the command line: whoever is logged in on the machine sees
// the command line in the list of processes. A DATABASE_URL without a password is no secret.
func RefuseSecretFlags(c *kong.Context) error {
	for _, p := range c.Path {
		if p.Flag == nil || p.Resolved || !isSecret(p.Flag) {
			continue
		}
		name := p.Flag.Envs[0]
		if name == "DATABASE_URL" && !hasPassword(p.Flag.Target.String()) {
			continue
		}
		return &Error{name, "must not be on the command line, where other users of the machine see it: set the variable, or " + name + "_FILE"}
	}
	return nil
}

// passwordKeyword finds a password in a connection string of keywords and values.
var passwordKeyword = regexp.MustCompile(`(?i)password\s*=\s*[^\s]`)

// hasPassword tells whether there is a password in the text of a connection string. It does not use
// pgx, since that also takes a password from PGPASSWORD and .pgpass, which are no part of the
// command line. In doubt there is a password.
func hasPassword(connection string) bool {
	_, rest, isURL := strings.Cut(connection, "://")
	if !isURL {
		return passwordKeyword.MatchString(connection) || connection != "" && !strings.Contains(connection, "=")
	}
	authority, query, _ := strings.Cut(rest, "?")
	parameters, err := url.ParseQuery(query)
	if err != nil || parameters.Get("password") != "" || parameters.Get("sslpassword") != "" {
		return true
	}
	at := strings.LastIndex(authority, "@") // also behind a slash: a password may have one that is not escaped
	if at < 0 {
		return !hasPorts(authority) // what is no port may be the beginning of a password with a question mark
	}
	_, password, _ := strings.Cut(authority[:at], ":")
	return password != ""
}

// hasPorts is true if there is a port behind each colon in a list of hosts.
func hasPorts(hosts string) bool {
	hosts, _, _ = strings.Cut(hosts, "/")
	for host := range strings.SplitSeq(hosts, ",") {
		behind := host[strings.LastIndex(host, "]")+1:] // of an IPv6 address
		if _, port, ok := strings.Cut(behind, ":"); ok && strings.Trim(port, "0123456789") != "" {
			return false
		}
	}
	return true
}

func isSecret(flag *kong.Flag) bool { return flag.Tag.Has("secret") }

// readSecret leaves out the line break that editors put at the end of a file. An empty file is an
// error.
func readSecret(setting, file string) (string, error) {
	secret, err := os.ReadFile(file)
	if err != nil {
		return "", &Error{setting, err.Error()}
	}
	value := strings.TrimRight(string(secret), "\r\n")
	if value == "" { // a secret that was not filled in: without an error passwords would be hashed without a pepper
		return "", &Error{setting, file + " is empty"}
	}
	return value, nil
}

// decodeNetwork reads 10.0.0.0/8 or, as a network of one, 10.0.0.1.
func decodeNetwork(ctx *kong.DecodeContext, target reflect.Value) error {
	var text string
	if err := ctx.Scan.PopValueInto("network", &text); err != nil {
		return err
	}
	prefix, err := netip.ParsePrefix(text)
	if addr, isOne := netip.ParseAddr(text); isOne == nil && addr.Zone() == "" {
		prefix, err = netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	if err != nil {
		return fmt.Errorf("%q is no address, and no network such as 10.0.0.0/8", text)
	}
	target.Set(reflect.ValueOf(prefix))
	return nil
}

// checkEnvironment compares the environment with the settings of all commands.
func checkEnvironment(c *kong.Context) error {
	var names []string
	err := kong.Visit(c.Model, func(node kong.Visitable, next kong.Next) error {
		if flag, ok := node.(*kong.Flag); ok && len(flag.Envs) > 0 {
			names = append(names, flag.Envs[0])
			if isSecret(flag) {
				names = append(names, flag.Envs[0]+"_FILE")
			}
		}
		return next(nil)
	})
	if err != nil {
		return err
	}
	return checkSpelling(names, os.Environ())
}

// checkSpelling finds a variable that was meant to be a setting. Without the error, a default would
// stay in force. If the setting is set too, by itself or by a file, the variable is taken to be
// another program's.
func checkSpelling(settings, environ []string) error {
	set := make(map[string]bool)
	for _, variable := range environ {
		name, value, _ := strings.Cut(variable, "=")
		set[name] = value != ""
	}
	missing := make(map[string]string) // settings that nothing gives, each with its plain name
	for _, setting := range settings {
		if !set[setting] && !set[otherForm(setting)] {
			missing[setting] = plain(setting)
		}
	}
	for _, variable := range environ {
		name, _, _ := strings.Cut(variable, "=")
		if !set[name] || slices.Contains(settings, name) {
			continue
		}
		given := plain(name)
		for _, setting := range settings {
			if meant, ok := missing[setting]; ok && resemble(given, meant) {
				return &Error{name, "is no setting; is " + setting + " meant?"}
			}
		}
	}
	return nil
}

// otherForm is the other variable by which the same setting may be given: X for X_FILE, and X_FILE
// for X.
func otherForm(name string) string {
	if value, ok := strings.CutSuffix(name, "_FILE"); ok {
		return value
	}
	return name + "_FILE"
}

// resemble is true for names that differ only in case and underscores. Long names may also differ
// by one slip of the hand: a letter too many, missing, wrong, or swapped with its neighbour. Both
// names are [plain].
func resemble(a, b string) bool {
	if min(len(a), len(b)) < 8 {
		return a == b
	}
	for a != "" && b != "" && a[0] == b[0] {
		a, b = a[1:], b[1:]
	}
	for a != "" && b != "" && a[len(a)-1] == b[len(b)-1] {
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	swapped := len(a) == 2 && len(b) == 2 && a[0] == b[1] && a[1] == b[0]
	return len(a) <= 1 && len(b) <= 1 || swapped
}

// plain is what all spellings of a name have in common.
func plain(name string) string {
	return strings.ToUpper(strings.ReplaceAll(strings.ReplaceAll(name, "_", ""), "-", ""))
}

// Explain makes an error of kong's parser fit to be shown. An error about a setting becomes an
// [Error]. It does not quote what was given for a secret.
func Explain(err error) error {
	if setting, ok := errors.AsType[*Error](err); ok {
		return setting
	}
	parsing, ok := errors.AsType[*kong.ParseError](err)
	if !ok {
		return err
	}
	for _, flag := range parsing.Context.Flags() {
		problem, about := strings.CutPrefix(err.Error(), "--"+flag.Name)
		switch {
		case !about || len(flag.Envs) == 0 || !strings.HasPrefix(problem, ":") && !strings.HasPrefix(problem, " "):
			continue
		case isSecret(flag):
			return &Error{flag.Envs[0], "has no value; one that begins with - is given as --" + flag.Name + "=VALUE"}
		default:
			problem, _, _ = strings.Cut(problem, " (from envar ")
			return &Error{flag.Envs[0], strings.TrimLeft(problem, ": ")}
		}
	}
	return err
}
