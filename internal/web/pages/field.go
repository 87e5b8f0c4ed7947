package pages

import (
	"cmp"
	"slices"
	"strings"
)

// field is an input with its label, and with what is said of it.
type field struct {
	Name         string // also its id
	Label        string // the name of a text; "": that of the name
	Type         string
	Autocomplete string
	Keys         string // which keys a phone shows first (HTML, inputmode); "": those of the type
	Value        string
	Hint         string // the name of a text, or ""
	Bound        int    // in the hint
	Fixed        bool
	Optional     bool // it may be left empty
	Problem      Problem
	Blamed       bool // the failure of the form is about it
	Focus        bool
}

func usernameField(value string, fixed bool) field {
	return field{
		Name: UsernameField, Type: "text", Autocomplete: "username", Value: value, Fixed: fixed,
	}
}

// addressField is no field of the type email: by that, browsers refuse what is not ASCII.
func addressField(value string, problem Problem) field {
	return field{
		Name: AddressField, Type: "text", Autocomplete: "email", Value: value, Problem: problem,
	}
}

// passwordField never has a value. A password that was sent does not come back.
func passwordField(name, autocomplete string, problem Problem) field {
	return field{Name: name, Type: "password", Autocomplete: autocomplete, Problem: problem}
}

func newPasswordField(name string, problem Problem, minLength int) field {
	made := passwordField(name, "new-password", problem)
	made.Hint, made.Bound = "field.new_password.hint", minLength
	return made
}

// currentPassword asks for the password of whoever has one.
func currentPassword(name string, passwordless bool, problem Problem) []field {
	if passwordless {
		return nil
	}
	return []field{passwordField(name, "current-password", problem)}
}

// factorField takes what its label says. An app has digits alone.
func factorField(label string) field {
	made := field{Name: FactorField, Label: label, Type: "text", Autocomplete: "one-time-code"}
	if label == "field.app_code" {
		made.Keys = "numeric"
	}
	return made
}

// passkeyNameField is for a name by which its owner knows a passkey.
func passkeyNameField(value string) field {
	return field{
		Name: PasskeyNameField, Label: "field.passkey_name", Type: "text", Autocomplete: "off",
		Value: value, Hint: "field.passkey_name.hint",
	}
}

// Said is the name of the text that labels the field.
func (f field) Said() string { return cmp.Or(f.Label, "field."+f.Name) }

// Invalid is true for a field that must be filled in anew.
func (f field) Invalid() bool { return f.Blamed || f.Problem.Why != "" }

// DescribedBy are the ids of what is said of the field, the most urgent first.
func (f field) DescribedBy() string {
	var ids []string
	if f.Blamed {
		ids = append(ids, "failure")
	}
	if f.Problem.Why != "" {
		ids = append(ids, f.Name+"-problem")
	}
	if f.Hint != "" {
		ids = append(ids, f.Name+"-hint")
	}
	return strings.Join(ids, " ")
}

// laidOut are the fields as the page has them. A field with a problem gets the focus, so that a
// screen reader reads the problem. Else it is the first field to be filled in, if the page is there
// for its form.
func (d description) laidOut() []field {
	fields := slices.Clone(d.Fields)
	for n := range fields {
		fields[n].Blamed = d.Failure.Why == WrongCredentials && !fields[n].Fixed ||
			d.Failure.Why == WrongCode && fields[n].Name == CodeField ||
			d.Failure.Why == WrongFactor && fields[n].Name == FactorField
	}
	focus := slices.IndexFunc(fields, func(f field) bool { return f.Problem.Why != "" })
	if focus < 0 && d.Focus {
		focus = slices.IndexFunc(fields, func(f field) bool { return f.Value == "" && !f.Fixed })
	}
	if focus >= 0 {
		fields[focus].Focus = true
	}
	return fields
}
