package config

import (
	"errors"
	"os"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// Environment is an option for a command line that has settings. It adds to what kong reads from the environment by
// itself: a secret X may come from the file that X_FILE names, a variable that is set but empty counts as not set, and
// one whose name is almost that of a setting is an error.
func Environment() kong.Option {
	return kong.OptionFunc(func(k *kong.Kong) error {
		return errors.Join(
			kong.Resolvers(kong.ResolverFunc(resolve)).Apply(k),
			kong.WithBeforeResolve(checkEnvironment).Apply(k),
		)
	})
}

// resolve returns what a flag gets that is not on the command line, or nil for what it has already.
func resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	if len(flag.Envs) == 0 {
		return nil, nil
	}
	name := flag.Envs[0]
	value := os.Getenv(name)
	if file := os.Getenv(name + "_FILE"); file != "" && isSecret(flag) {
		if value != "" {
			return nil, &Error{name, "is set, and so is " + name + "_FILE: choose one"}
		}
		return readSecret(name+"_FILE", file)
	}
	if value == "" && flag.HasDefault {
		return flag.Default, nil
	}
	return nil, nil
}

func isSecret(flag *kong.Flag) bool { return flag.Tag.Has("secret") }

// readSecret leaves out the line break that editors put at the end of a file.
func readSecret(setting, file string) (any, error) {
	secret, err := os.ReadFile(file)
	if err != nil {
		return nil, &Error{setting, err.Error()}
	}
	return strings.TrimRight(string(secret), "\r\n"), nil
}

// checkEnvironment holds the environment against every setting that the command line has, in whatever command.
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

// checkSpelling finds a variable that was meant to be a setting: left alone, it would leave a default in force. Where
// the setting is set too, the variable is taken to be another program's.
func checkSpelling(settings, environ []string) error {
	set := make(map[string]bool)
	for _, variable := range environ {
		name, value, _ := strings.Cut(variable, "=")
		set[name] = value != ""
	}
	for _, variable := range environ {
		name, _, _ := strings.Cut(variable, "=")
		if !set[name] || slices.Contains(settings, name) {
			continue
		}
		for _, setting := range settings {
			if !set[setting] && resemble(name, setting) {
				return &Error{name, "is no setting; is " + setting + " meant?"}
			}
		}
	}
	return nil
}

// resemble is true for names that differ in case and underscores, or, if they are not short, by one slip of the hand:
// a letter too many, missing, wrong, or in its neighbour's place.
func resemble(a, b string) bool {
	a, b = plain(a), plain(b)
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

func plain(name string) string {
	return strings.ToUpper(strings.ReplaceAll(strings.ReplaceAll(name, "_", ""), "-", ""))
}

// Explain makes an error of kong's parser fit to be shown: one that is about a setting becomes an Error, and does not
// quote what was given for a secret.
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
