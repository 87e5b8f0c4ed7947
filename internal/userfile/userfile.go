// Package userfile owns the form of the files of accounts that gatehouse user import reads and
// gatehouse user export writes: JSON lines, or CSV.
package userfile

import (
	"path/filepath"
	"strings"
	"time"
)

// Format is the form of a file. The zero value means that it is not known: a [Reader] then looks at
// what is in the file, and a [Writer] writes JSON lines.
type Format string

// Formats.
const (
	JSONLines Format = "jsonl"
	CSV       Format = "csv"
)

// FormatOf returns the form that a file's name tells, or else the zero value.
func FormatOf(name string) Format {
	switch strings.ToLower(filepath.Ext(name)) {
	case ".csv":
		return CSV
	case ".jsonl", ".ndjson", ".json":
		return JSONLines
	}
	return ""
}

// Columns are the fields of an account, in the order in which they are written. The first two are
// needed.
func Columns() []string {
	return []string{"username", "password_hash", "disabled", "roles", "created_at", "must_change_password", "password_expires_at",
		"email", "email_verified", "verify_until"}
}

// account is an account as JSON.
type account struct {
	Username     *string  `json:"username"`
	PasswordHash *string  `json:"password_hash"`
	Disabled     bool     `json:"disabled"`
	Roles        []string `json:"roles"`
	CreatedAt    *moment  `json:"created_at"`

	MustChangePassword bool    `json:"must_change_password"`
	PasswordExpiresAt  *moment `json:"password_expires_at"`

	Email         *string `json:"email"`
	EmailVerified bool    `json:"email_verified"`
	VerifyUntil   *moment `json:"verify_until"`
}

// moment is a time in a file. It is read as RFC 3339 or as PostgreSQL's COPY writes it, and written
// as RFC 3339 in UTC.
type moment time.Time

// layouts are those in which a time is read. PostgreSQL writes a space before the time of day, and
// of the offset only what is not 0. Fractions of a second need not be in a layout to be read. A
// time without an offset is refused: nobody can tell of which time zone it is.
func layouts() []string {
	return []string{time.RFC3339, "2006-01-02 15:04:05Z07", "2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05Z07:00:00"}
}

func parseMoment(text string) (at time.Time, err error) {
	for _, layout := range layouts() {
		if at, err = time.Parse(layout, text); err == nil {
			return at, nil
		}
	}
	return time.Time{}, err
}

func formatMoment(at time.Time) string { return at.UTC().Format(time.RFC3339Nano) }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (m *moment) UnmarshalText(text []byte) error {
	at, err := parseMoment(string(text))
	*m = moment(at)
	return err
}

// MarshalText implements [encoding.TextMarshaler].
func (m moment) MarshalText() ([]byte, error) { return []byte(formatMoment(time.Time(m))), nil }
